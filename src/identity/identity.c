#include "identity/identity.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdatomic.h>

struct shared_principal {
	struct principal principal; /* first: a principal's address is its owner's */
	atomic_uint refs;
};

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts and removes repeated entries (freeing them). Returns how many are left. */
static size_t sort_unique(char **texts, size_t count)
{
	if (!count)
		return 0;
	qsort(texts, count, sizeof(*texts), compare_text);
	size_t kept = 1;
	for (size_t i = 1; i < count; i++) {
		if (strcmp(texts[i], texts[kept - 1]) == 0)
			free(texts[i]);
		else
			texts[kept++] = texts[i];
	}
	return kept;
}

const struct principal *principal_create(const char *user, const char *const *groups, size_t group_count, bool admin)
{
	struct shared_principal *shared = NEW(struct shared_principal);
	char **copies = xcalloc(group_count ? group_count : 1, sizeof(*copies));
	for (size_t i = 0; i < group_count; i++)
		copies[i] = xstrdup(groups[i]);
	shared->principal.group_count = sort_unique(copies, group_count);
	shared->principal.groups = (const char *const *)copies;
	shared->principal.user = user ? xstrdup(user) : NULL;
	shared->principal.admin = admin;
	atomic_init(&shared->refs, 1);
	return &shared->principal;
}

const struct principal *principal_anonymous(void)
{
	static struct shared_principal anonymous = { .refs = 1 }; /* its own reference is never given back */
	return principal_ref(&anonymous.principal);
}

static struct shared_principal *shared_of(const struct principal *principal)
{
	return CONTAINER_OF((struct principal *)(uintptr_t)principal, struct shared_principal, principal);
}

const struct principal *principal_ref(const struct principal *principal)
{
	if (principal)
		atomic_fetch_add_explicit(&shared_of(principal)->refs, 1, memory_order_relaxed);
	return principal;
}

void principal_unref(const struct principal *principal)
{
	if (!principal)
		return;
	struct shared_principal *shared = shared_of(principal);
	if (atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < principal->group_count; i++)
		free((char *)(uintptr_t)principal->groups[i]);
	free((void *)(uintptr_t)principal->groups);
	free((char *)(uintptr_t)principal->user);
	free(shared);
}

static bool in_group(const struct principal *principal, const char *group)
{
	size_t low = 0, high = principal->group_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(group, principal->groups[middle]);
		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

static bool entry_admits(const struct principal *principal, const char *entry)
{
	if (strcmp(entry, "public") == 0)
		return true;
	if (!principal->user)
		return false;
	if (strcmp(entry, "signed-in") == 0)
		return true;
	if (str_starts(entry, "user:"))
		return strcmp(entry + strlen("user:"), principal->user) == 0;
	if (str_starts(entry, "group:"))
		return in_group(principal, entry + strlen("group:"));
	return false;
}

static bool admits(const struct principal *principal, char *const *entries)
{
	for (; entries && *entries; entries++)
		if (entry_admits(principal, *entries))
			return true;
	return false;
}

bool access_may_publish(const struct principal *principal, const char *owner)
{
	if (!principal->user)
		return false;
	return principal->admin || strcmp(principal->user, owner) == 0 || in_group(principal, owner);
}

enum decision access_decide(const struct principal *principal, const struct access_list *list, enum right right)
{
	/* Whoever may publish under the name is its owner; there is no second notion of ownership. */
	if (access_may_publish(principal, list->owner))
		return DECISION_ALLOW;
	if (!admits(principal, list->visible))
		return DECISION_ABSENT;
	switch (right) {
	case RIGHT_DISCOVER:
	case RIGHT_READ:
		return DECISION_ALLOW;
	case RIGHT_RUN:
		return !list->run || admits(principal, list->run) ? DECISION_ALLOW : DECISION_FORBIDDEN;
	case RIGHT_DOWNLOAD:
		return !list->download || admits(principal, list->download) ? DECISION_ALLOW : DECISION_FORBIDDEN;
	case RIGHT_MANAGE:
	case RIGHT_COUNT:
		break;
	}
	return DECISION_FORBIDDEN;
}

static void entries_free(char **entries)
{
	for (size_t i = 0; entries && entries[i]; i++)
		free(entries[i]);
	free(entries);
}

void access_list_done(struct access_list *list)
{
	if (!list)
		return;
	free(list->owner);
	entries_free(list->visible);
	entries_free(list->run);
	entries_free(list->download);
	*list = (struct access_list){ 0 };
}

static bool is_entry(const char *text)
{
	if (strcmp(text, "public") == 0 || strcmp(text, "signed-in") == 0)
		return true;
	if (str_starts(text, "user:"))
		return name_is_owner(str_of(text + strlen("user:")));
	return str_starts(text, "group:") && name_is_owner(str_of(text + strlen("group:")));
}

static enum err_code entries_read(const json_t *array, const char *member, char ***ret, struct err *err)
{
	if (!json_is_array(array))
		return err_set(err, ERR_INVALID_ARGUMENT, "access: '%s' must be an array of texts", member);
	size_t count = json_array_size(array);
	if (count > ACCESS_ENTRIES_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "access: '%s' has %zu entries, at most %d are possible", member,
			       count, ACCESS_ENTRIES_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		if (text && is_entry(text))
			continue;
		err_set(err, ERR_INVALID_ARGUMENT, "access: entry %zu of '%s', %s%s%s, names nobody", i + 1, member,
			text ? "\"" : "", text ? text : "which is not a text", text ? "\"" : "");
		err_advise(err,
			   "write \"public\", \"signed-in\", \"user:NAME\" or \"group:NAME\"; [] is the owner alone");
		return ERR_INVALID_ARGUMENT;
	}
	char **entries = xcalloc(count + 1, sizeof(*entries));
	for (size_t i = 0; i < count; i++)
		entries[i] = xstrdup(json_string_value(json_array_get(array, i)));
	size_t kept = sort_unique(entries, count);
	entries[kept] = NULL;
	*ret = entries;
	return ERR_OK;
}

static enum err_code check_members(const json_t *json, const char *owner, struct err *err)
{
	static const char *const known[] = { "owner", "visible_to", "run_by", "download_by" };
	if (!json_is_object(json))
		return err_set(err, ERR_INVALID_ARGUMENT, "access: must be an object with \"visible_to\"");
	const char *member;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)json, member, value) {
		size_t i = 0;
		while (i < ARRAY_SIZE(known) && strcmp(known[i], member) != 0)
			i++;
		if (i == ARRAY_SIZE(known)) {
			err_set(err, ERR_INVALID_ARGUMENT, "access: there is no member '%s'", member);
			err_advise(err, "the members are visible_to, run_by and download_by");
			return ERR_INVALID_ARGUMENT;
		}
	}
	json_t *given = json_object_get(json, "owner");
	if (given && (!json_is_string(given) || strcmp(json_string_value(given), owner) != 0))
		return err_set(err, ERR_INVALID_ARGUMENT, "access: 'owner' must be \"%s\"; a servable keeps its owner",
			       owner);
	if (!json_object_get(json, "visible_to")) {
		err_set(err, ERR_INVALID_ARGUMENT, "access: 'visible_to' is missing");
		err_advise(err, "give an array such as [\"public\"], [\"signed-in\"], [\"user:NAME\"],"
				" or [] for the owner alone");
		return ERR_INVALID_ARGUMENT;
	}
	return ERR_OK;
}

enum err_code access_list_parse(const char *owner, const char *text, struct access_list *ret, struct err *err)
{
	_cleanup_json_ json_t *json = NULL;
	enum err_code code = json_read(text, strlen(text), 4, "access", &json, err);
	if (code == ERR_OK)
		code = check_members(json, owner, err);
	if (code != ERR_OK)
		return code;

	struct access_list list = { 0 };
	const json_t *run = json_object_get(json, "run_by"), *download = json_object_get(json, "download_by");
	code = entries_read(json_object_get(json, "visible_to"), "visible_to", &list.visible, err);
	if (code == ERR_OK && run && !json_is_null(run))
		code = entries_read(run, "run_by", &list.run, err);
	if (code == ERR_OK && download && !json_is_null(download))
		code = entries_read(download, "download_by", &list.download, err);
	if (code != ERR_OK) {
		access_list_done(&list);
		return code;
	}
	list.owner = xstrdup(owner);
	*ret = list;
	return ERR_OK;
}

static json_t *entries_json(char *const *entries)
{
	json_t *array = json_array();
	for (; entries && *entries; entries++)
		json_array_append_new(array, json_string(*entries));
	return array;
}

char *access_list_format(const struct access_list *list)
{
	_cleanup_json_ json_t *json =
		json_pack("{s:s, s:o}", "owner", list->owner, "visible_to", entries_json(list->visible));
	if (!json)
		abort(); /* names are UTF-8, so only memory can fail */
	if (list->run)
		json_object_set_new(json, "run_by", entries_json(list->run));
	if (list->download)
		json_object_set_new(json, "download_by", entries_json(list->download));
	return json_canonical(json);
}
