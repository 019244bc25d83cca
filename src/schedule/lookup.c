#include "schedule/lookup.h"

#include "base/alloc.h"
#include "base/cache.h"
#include "base/clock.h"

#define TOKEN_CACHE_MS 60000
#define KEY_BYTES 512 /* longest names fit */

struct known_token {
	const struct principal *principal;
	int64_t expires_ms; /* wall clock; 0: never */
	int64_t until_ms;   /* monotonic: looked up again after */
};

struct lookup {
	struct loop *loop;
	const struct settings *settings;
	struct catalog *catalog;
	const char *data;
	struct cache *servables; /* OWNER/NAME@VERSION → struct servable */
	struct hasher *hasher;	 /* of tokens: one that is at hand costs half of a fresh one */
	struct cache *tokens;	 /* SHA-256 of a token, or "user:NAME" → struct known_token */
	uint64_t forgotten;	 /* how often something was taken out because it changed */
	void (*on_forget)(void *context, const char *owner, const char *name); /* NULL: nobody asks */
	void *on_forget_context;
};

static void drop_servable(void *context, void *value)
{
	servable_unref(value);
}

static void drop_token(void *context, void *value)
{
	struct known_token *known = value;
	principal_unref(known->principal);
	free(known);
}

struct lookup *lookup_create(struct loop *loop, const struct settings *settings, struct catalog *catalog, const char *data)
{
	struct lookup *lookup = NEW(struct lookup);
	*lookup = (struct lookup){ .loop = loop, .settings = settings, .catalog = catalog, .data = data };
	lookup->servables = cache_create((size_t)settings_int(settings, SETTING_LIMITS_ROUTE_CACHE), drop_servable, NULL);
	lookup->hasher = hasher_create();
	lookup->tokens = cache_create((size_t)settings_int(settings, SETTING_LIMITS_TOKEN_CACHE), drop_token, NULL);
	return lookup;
}

void lookup_destroy(struct lookup *lookup)
{
	if (!lookup)
		return;
	cache_destroy(lookup->servables);
	cache_destroy(lookup->tokens);
	hasher_destroy(lookup->hasher);
	free(lookup);
}

/* One question that went to the pool. */
struct question {
	struct lookup *lookup;
	uint64_t forgotten; /* the lookup's when it began: what was read before a change is not kept after it */
	struct err err;
	void *context;
	/* a token's, or a user's */
	struct digest token;
	char *user; /* owned; NULL: a token's */
	struct known_token *known;
	lookup_principal_fn on_principal;
	/* a servable's */
	const struct principal *principal;
	char *owner, *name, *which;
	struct servable *servable;
	lookup_servable_fn on_servable;
};

static struct question *question_create(struct lookup *lookup, void *context)
{
	struct question *question = NEW(struct question);
	question->lookup = lookup;
	question->forgotten = lookup->forgotten;
	question->err = ERR_INIT;
	question->context = context;
	return question;
}

static void question_destroy(struct question *question)
{
	principal_unref(question->principal);
	free(question->user);
	free(question->owner);
	free(question->name);
	free(question->which);
	err_done(&question->err);
	free(question);
}

/* --- tokens --- */

static struct str token_key(const struct digest *token)
{
	return (struct str){ (const char *)token->bytes, SHA256_BYTES };
}

static struct known_token *known_token(struct lookup *lookup, struct str key)
{
	struct known_token *known = cache_get(lookup->tokens, key);
	if (!known)
		return NULL;
	if (known->until_ms >= loop_now_ns(lookup->loop) / 1000000 &&
	    (!known->expires_ms || known->expires_ms > clock_wall_ms()))
		return known;
	cache_remove(lookup->tokens, key);
	return NULL;
}

static char *user_key(struct str user)
{
	return xasprintf("user:" STR_FMT, STR_ARG(user));
}

static void ask_token(void *context)
{
	struct question *question = context;
	struct catalog *catalog = question->lookup->catalog;
	question->known = NEW(struct known_token);
	enum err_code code = question->user ? catalog_principal_of_user(catalog, question->user, &question->known->principal,
									&question->err) :
					      catalog_principal_of_token(catalog, &question->token, &question->known->principal,
									 &question->known->expires_ms, &question->err);
	if (code == ERR_OK)
		return;
	free(question->known);
	question->known = NULL;
}

static void token_asked(void *context)
{
	struct question *question = context;
	struct lookup *lookup = question->lookup;
	struct known_token *known = question->known;
	const struct principal *principal = known ? principal_ref(known->principal) : NULL;
	if (known) {
		_cleanup_free_ char *key = question->user ? user_key(str_of(question->user)) : NULL;
		known->until_ms = loop_now_ns(lookup->loop) / 1000000 + TOKEN_CACHE_MS;
		if (question->forgotten == lookup->forgotten)
			cache_put(lookup->tokens, key ? str_of(key) : token_key(&question->token), known);
		else
			drop_token(NULL, known);
	}
	question->on_principal(question->context, principal, &question->err);
	principal_unref(principal);
	question_destroy(question);
}

enum lookup_state lookup_principal(struct lookup *lookup, struct str token, const struct principal **ret,
				   lookup_principal_fn done, void *context, struct err *err)
{
	if (!token.len) {
		*ret = principal_anonymous();
		return LOOKUP_DONE;
	}
	struct digest digest;
	hasher_update(lookup->hasher, token.data, token.len);
	hasher_finish(lookup->hasher, &digest);
	struct known_token *known = known_token(lookup, token_key(&digest));
	if (known) {
		*ret = principal_ref(known->principal);
		return LOOKUP_DONE;
	}
	struct question *question = question_create(lookup, context);
	question->token = digest;
	question->on_principal = done;
	if (pool_submit(lookup->loop, LANE_CATALOG, ask_token, token_asked, question))
		return LOOKUP_WAITS;
	question_destroy(question);
	err_set(err, ERR_UNAVAILABLE, "the hub is busy: no place to look the token up");
	return LOOKUP_DONE;
}

enum lookup_state lookup_user(struct lookup *lookup, struct str user, const struct principal **ret, lookup_principal_fn done,
			      void *context, struct err *err)
{
	_cleanup_free_ char *key = user_key(user);
	struct known_token *known = known_token(lookup, str_of(key));
	if (known) {
		*ret = principal_ref(known->principal);
		return LOOKUP_DONE;
	}
	struct question *question = question_create(lookup, context);
	question->user = xstrndup(user.data, user.len);
	question->on_principal = done;
	if (pool_submit(lookup->loop, LANE_CATALOG, ask_token, token_asked, question))
		return LOOKUP_WAITS;
	question_destroy(question);
	err_set(err, ERR_UNAVAILABLE, "the hub is busy: no place to look the user up");
	return LOOKUP_DONE;
}

/* --- servables --- */

static struct str servable_key(struct str owner, struct str name, struct str which, char text[static KEY_BYTES])
{
	const struct str pieces[] = { owner, STR("/"), name, STR("@"), which };
	size_t len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		size_t piece = MIN(pieces[i].len, KEY_BYTES - len);
		if (piece) /* nothing may have no address */
			memcpy(text + len, pieces[i].data, piece);
		len += piece;
	}
	return (struct str){ text, len };
}

static enum err_code not_found(const struct principal *principal, const char *owner, const char *name, const char *which,
			       struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "no servable %s/%s%s%s that you may see%s", owner, name, *which ? " version " : "",
		       which, principal->user ? "" : ", or sign in");
}

static void ask_servable(void *context)
{
	struct question *question = context;
	const struct lookup *lookup = question->lookup;
	struct version_row row = { 0 };
	if (catalog_version_get(lookup->catalog, question->owner, question->name, question->which, &row, &question->err) == ERR_OK) {
		if (access_decide(question->principal, &row.access, RIGHT_DISCOVER) == DECISION_ABSENT)
			err_set(&question->err, ERR_NOT_FOUND, "absent");
		else
			(void)!servable_create(&row, lookup->data, lookup->settings, &question->servable, &question->err);
		version_row_done(&row);
	}
	if (question->err.code != ERR_NOT_FOUND)
		return;
	err_done(&question->err); /* the same words as for one that may not be seen */
	not_found(question->principal, question->owner, question->name, question->which, &question->err);
}

static void servable_asked(void *context)
{
	struct question *question = context;
	struct lookup *lookup = question->lookup;
	struct servable *servable = question->servable;
	if (servable && question->forgotten == lookup->forgotten) {
		char text[KEY_BYTES];
		cache_put(lookup->servables,
			  servable_key(str_of(question->owner), str_of(question->name), str_of(question->which), text),
			  servable_ref(servable));
	}
	question->on_servable(question->context, servable, &question->err);
	servable_unref(servable);
	question_destroy(question);
}

enum lookup_state lookup_servable(struct lookup *lookup, const struct principal *principal, struct str owner, struct str name,
				  struct str which, struct servable **ret, lookup_servable_fn done, void *context,
				  struct err *err)
{
	char text[KEY_BYTES];
	struct servable *known = cache_get(lookup->servables, servable_key(owner, name, which, text));
	/* One that the caller may not see is looked up like one that is not there: their times tell nothing. */
	if (known && access_decide(principal, &known->access, RIGHT_DISCOVER) != DECISION_ABSENT) {
		*ret = servable_ref(known);
		return LOOKUP_DONE;
	}
	struct question *question = question_create(lookup, context);
	question->principal = principal_ref(principal);
	question->owner = xstrndup(owner.data, owner.len);
	question->name = xstrndup(name.data, name.len);
	question->which = xstrndup(which.data ?: "", which.len);
	question->on_servable = done;
	if (pool_submit(lookup->loop, LANE_CATALOG, ask_servable, servable_asked, question))
		return LOOKUP_WAITS;
	question_destroy(question);
	err_set(err, ERR_UNAVAILABLE, "the hub is busy: no place to look the servable up");
	return LOOKUP_DONE;
}

enum err_code lookup_decide(const struct principal *principal, const struct servable *servable, enum right right,
			    struct err *err)
{
	switch (access_decide(principal, &servable->access, right)) {
	case DECISION_ALLOW:
		return ERR_OK;
	case DECISION_ABSENT:
		return not_found(principal, servable->owner, servable->name, "", err);
	default:
		return err_set(err, ERR_PERMISSION_DENIED, "you may see %s, but its owner does not let you do this",
			       servable->full_name);
	}
}

/* --- what has changed --- */

static bool has_prefix(void *context, struct str key, void *value)
{
	const struct str *prefix = context;
	return key.len >= prefix->len && memcmp(key.data, prefix->data, prefix->len) == 0;
}

void lookup_forget_servable(struct lookup *lookup, const char *owner, const char *name)
{
	_cleanup_free_ char *text = xasprintf("%s/%s@", owner, name);
	struct str prefix = str_of(text);
	lookup->forgotten++;
	cache_remove_if(lookup->servables, has_prefix, &prefix);
	if (lookup->on_forget)
		lookup->on_forget(lookup->on_forget_context, owner, name);
}

void lookup_on_forget(struct lookup *lookup, void (*fn)(void *context, const char *owner, const char *name), void *context)
{
	lookup->on_forget = fn;
	lookup->on_forget_context = context;
}

static bool always(void *context, struct str key, void *value)
{
	return true;
}

void lookup_forget_tokens(struct lookup *lookup)
{
	lookup->forgotten++;
	cache_remove_if(lookup->tokens, always, NULL);
}
