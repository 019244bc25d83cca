#include "schedule/memo.h"

#include "base/alloc.h"
#include "base/cache.h"
#include "schedule/memo_key.h"
#include "schedule/memo_store.h"
#include "schedule/memo_verify.h"

#define SWEEP_MS 20

/* One that gets the answer of another. In its own arena. */
struct follower {
	struct run_layer layer; /* marks its run; never called */
	struct run *run;
	struct followers *list; /* that it is in */
	struct follower *next, *previous;
	struct memo_answer *answer; /* shared (ref), once there is one */
	bool alone;		    /* to be run by itself */
};

struct followers {
	struct follower *first, *last;
};

/* A run under way that others may join. In the leader's arena. */
struct flight {
	struct run_layer layer;
	struct memo *memo;
	struct digest key;
	struct run *leader;
	struct followers followers;
	bool forsaken; /* the leader's own caller left */
};

struct memo {
	struct memo_parts parts;
	struct memo_keyer *keyer;
	struct memo_store *store;
	struct memo_verifier *verifier;
	struct cache *flights; /* key → struct flight; never full */
	struct followers ended;	 /* have their answer or error: about to be told */
	struct followers again;	 /* their leader is gone */
	size_t following;	 /* followers of flights */
	struct timer *sweep, *soon;
	struct memo_figures figures;
};

static void leader_done(struct run_layer *layer, struct run *run);

/* --- lists of followers --- */

static void push(struct followers *list, struct follower *follower)
{
	follower->list = list;
	follower->next = NULL;
	follower->previous = list->last;
	*(list->last ? &list->last->next : &list->first) = follower;
	list->last = follower;
}

static void take_out(struct follower *follower)
{
	struct followers *list = follower->list;
	*(follower->previous ? &follower->previous->next : &list->first) = follower->next;
	*(follower->next ? &follower->next->previous : &list->last) = follower->previous;
	follower->list = NULL;
}

static void follower_done(struct run_layer *layer, struct run *run)
{
	abort(); /* nobody runs it, so nobody can end it */
}

static struct follower *follower_of(struct run *run)
{
	return run->layer && run->layer->on_done == follower_done ? CONTAINER_OF(run->layer, struct follower, layer) : NULL;
}

/* The layer that it was pushed as; a pipeline's may stand before it. */
static struct flight *flight_of(struct run *run)
{
	struct run_layer *layer = run->layer;
	while (layer && layer->on_done != leader_done)
		layer = layer->below;
	return layer ? CONTAINER_OF(layer, struct flight, layer) : NULL;
}

/* The run is an ordinary one again. */
static struct run *release(struct follower *follower)
{
	take_out(follower);
	follower->run->layer = follower->layer.below;
	return follower->run;
}

static void tell_ended(struct memo *memo)
{
	for (struct follower *follower; (follower = memo->ended.first);) {
		struct memo_answer *answer = follower->answer;
		struct run *run = release(follower);
		if (answer && !memo_answer_give(answer, run))
			err_set(&run->err, ERR_RESOURCE_EXHAUSTED, "no memory for the answer");
		memo_answer_unref(answer);
		memo->parts.on_followed(memo->parts.context, run);
		run_complete(run);
	}
}

static void tell_error(struct memo *memo, struct follower *follower, enum err_code code, const char *text)
{
	err_set(&follower->run->err, code, "%s", text);
	take_out(follower);
	push(&memo->ended, follower);
}

/* --- those whose leader is gone --- */

static void run_again(struct memo *memo, struct follower *follower)
{
	bool alone = follower->alone;
	struct run *run = release(follower);
	struct err err = ERR_INIT;
	enum memo_state state = MEMO_OFF;
	if (alone)
		run->memo = MEMO_OFF;
	else
		state = memo_begin(memo, run);
	if (state == MEMO_HIT) {
		run_complete(run);
	} else if (state != MEMO_JOINED && memo->parts.submit(memo->parts.context, run, &err) != ERR_OK) {
		memo_refused(memo, run);
		err_move(&run->err, &err);
		run_complete(run);
	}
	err_done(&err);
}

static void on_soon(void *context)
{
	struct memo *memo = context;
	for (struct follower *follower; (follower = memo->again.first);)
		run_again(memo, follower);
}

/* --- time --- */

static bool sweep_flight(void *context, struct str key, void *value)
{
	struct memo *memo = context;
	struct flight *flight = value;
	int64_t now = loop_now_ns(memo->parts.loop);
	for (struct follower *follower = flight->followers.first, *next; follower; follower = next) {
		next = follower->next;
		if (follower->run->deadline_ns > now)
			continue;
		memo->following--;
		tell_error(memo, follower, ERR_DEADLINE_EXCEEDED, "the identical run that this one waited for did not end before its deadline");
	}
	return false;
}

static void on_sweep(void *context)
{
	struct memo *memo = context;
	cache_remove_if(memo->flights, sweep_flight, memo); /* walks only: nothing is removed */
	tell_ended(memo);
	if (!memo->following)
		timer_stop(memo->sweep);
}

/* --- leading --- */

static struct str key_text(const struct digest *key)
{
	return (struct str){ (const char *)key->bytes, SHA256_BYTES };
}

static int64_t cost_of(const struct run *run)
{
	return run->run_ns / (int64_t)MAX(run->batch_runs, 1u);
}

static void hand_on(struct memo *memo, struct flight *flight, struct run *run)
{
	enum err_code code = run->err.code;
	struct memo_answer *answer = NULL;
	if (code == ERR_OK)
		answer = memo_answer_create(run->outputs, run->output_count, cost_of(run));
	if (answer && run->servable->options.memo.on)
		memo_store_keep(memo->store, &flight->key, run->servable->full_name, answer, loop_now_ns(memo->parts.loop));
	for (struct follower *follower; (follower = flight->followers.first);) {
		memo->following--;
		take_out(follower);
		if (answer) {
			follower->answer = memo_answer_ref(answer);
			follower->run->run_ns = run->run_ns;
			push(&memo->ended, follower);
		} else {
			/* It may be the caller that ended it, or the call that fails: then not one after the other. */
			follower->alone = code != ERR_CANCELLED && code != ERR_DEADLINE_EXCEEDED;
			push(&memo->again, follower);
			timer_start(memo->soon, 0, 0);
		}
	}
	memo_answer_unref(answer);
}

static void leader_done(struct run_layer *layer, struct run *run)
{
	struct flight *flight = CONTAINER_OF(layer, struct flight, layer);
	struct memo *memo = flight->memo;
	cache_remove(memo->flights, key_text(&flight->key));
	hand_on(memo, flight, run);
	run_complete(run);
	tell_ended(memo);
}

static enum memo_state lead(struct memo *memo, struct run *run, const struct digest *key)
{
	struct flight *flight = arena_try(&run->arena, sizeof(*flight));
	if (!flight)
		return MEMO_OFF;
	*flight = (struct flight){ .layer.on_done = leader_done, .memo = memo, .key = *key, .leader = run };
	run_push_layer(run, &flight->layer);
	cache_put(memo->flights, key_text(key), flight);
	memo->figures.misses++;
	return MEMO_MISS;
}

static enum memo_state join(struct memo *memo, struct run *run, struct flight *flight)
{
	struct follower *follower = arena_try(&run->arena, sizeof(*follower));
	if (!follower)
		return MEMO_OFF;
	*follower = (struct follower){ .layer.on_done = follower_done, .run = run };
	run_push_layer(run, &follower->layer);
	push(&flight->followers, follower);
	if (memo->following++ == 0)
		timer_start(memo->sweep, SWEEP_MS, SWEEP_MS);
	memo->figures.joined++;
	return MEMO_JOINED;
}

/* --- interface --- */

static bool applies(const struct run *run)
{
	const struct serving_options *options = &run->servable->options;
	if (!options->memo.on || run->bypass_memo || run->request.debug)
		return false;
	int64_t bytes = 0;
	for (size_t i = 0; i < run->request.input_count; i++)
		bytes += (int64_t)run->request.inputs[i].len;
	return bytes <= options->memo.largest_bytes;
}

/* Whose answers these are; NULL: everybody's who may run it. */
static const char *whose(const struct run *run)
{
	const struct servable *servable = run->servable;
	if (servable->options.memo.shared || !run->principal->user)
		return NULL;
	_cleanup_(principal_unrefp) const struct principal *anybody = principal_anonymous();
	return access_decide(anybody, &servable->access, RIGHT_RUN) == DECISION_ALLOW ? NULL : run->principal->user;
}

enum memo_state memo_begin(struct memo *memo, struct run *run)
{
	struct digest key;
	run->memo = MEMO_OFF;
	if (!memo->store || !applies(run) || !memo_key(memo->keyer, run, whose(run), &key))
		return MEMO_OFF;
	int64_t now = loop_now_ns(memo->parts.loop), lifetime_ms = run->servable->options.memo.lifetime_ms;
	struct memo_answer *answer = memo_store_find(memo->store, &key, lifetime_ms ? now - lifetime_ms * 1000000 : INT64_MIN);
	struct flight *flight = answer ? NULL : cache_get(memo->flights, key_text(&key));
	run->submitted_ns = now;
	if (answer && memo_answer_give(answer, run)) {
		run->memo = MEMO_HIT;
		memo->figures.hits++;
		memo_verify(memo->verifier, run, answer);
	} else if (flight && run->deadline_ns > now) {
		run->memo = join(memo, run, flight);
	} else if (!answer && !flight) {
		run->memo = lead(memo, run, &key);
	}
	return run->memo;
}

void memo_refused(struct memo *memo, struct run *run)
{
	struct flight *flight = flight_of(run);
	if (!flight)
		return;
	run->layer = flight->layer.below;
	cache_remove(memo->flights, key_text(&flight->key));
}

bool memo_give_up(struct memo *memo, struct run *run)
{
	struct follower *follower = follower_of(run);
	struct flight *flight = follower ? NULL : flight_of(run);
	if (flight) {
		flight->forsaken = flight->followers.first != NULL;
		return flight->forsaken;
	}
	if (!follower)
		return false;
	struct followers *list = follower->list;
	bool flying = list != &memo->ended && list != &memo->again;
	flight = flying ? CONTAINER_OF(list, struct flight, followers) : NULL;
	memo->following -= flying;
	memo_answer_unref(follower->answer);
	release(follower);
	if (flight && flight->forsaken && !list->first) /* the last one for whom it went on */
		memo->parts.give_up(memo->parts.context, flight->leader);
	err_set(&run->err, ERR_CANCELLED, "the client left");
	memo->parts.on_followed(memo->parts.context, run);
	run_complete(run);
	return true;
}

void memo_forget(struct memo *memo, const char *full_name)
{
	if (memo->store)
		memo_store_forget(memo->store, full_name);
}

static void on_differs(void *context, struct servable *servable, struct str output)
{
	struct memo *memo = context;
	memo->figures.differed++;
	servable->options.memo.on = false;
	memo_forget(memo, servable->full_name);
	memo->parts.on_differs(memo->parts.context, servable, output);
}

struct memo *memo_create(const struct memo_parts *parts)
{
	struct memo *memo = NEW(struct memo);
	size_t bytes = (size_t)settings_int(parts->settings, SETTING_MEMO_BYTES);
	memo->parts = *parts;
	if (bytes)
		memo->store = memo_store_create(bytes, (size_t)settings_int(parts->settings, SETTING_MEMO_ANSWERS));
	memo->keyer = memo_keyer_create();
	memo->flights = cache_create(SIZE_MAX, NULL, NULL);
	memo->verifier = memo_verifier_create(&memo->parts, on_differs, memo);
	memo->sweep = timer_create_on(parts->loop, on_sweep, memo);
	memo->soon = timer_create_on(parts->loop, on_soon, memo);
	return memo;
}

void memo_destroy(struct memo *memo)
{
	if (!memo)
		return;
	timer_close(memo->sweep);
	timer_close(memo->soon);
	for (struct follower *follower; (follower = memo->again.first);)
		tell_error(memo, follower, ERR_UNAVAILABLE, "the hub is ending");
	tell_ended(memo);
	memo_verifier_destroy(memo->verifier);
	cache_destroy(memo->flights);
	memo_store_destroy(memo->store);
	memo_keyer_destroy(memo->keyer);
	free(memo);
}

void memo_figures(const struct memo *memo, struct memo_figures *ret)
{
	*ret = memo->figures;
	ret->answers = memo->store ? memo_store_count(memo->store) : 0;
	ret->bytes = memo->store ? memo_store_bytes(memo->store) : 0;
	ret->verified = memo_verifier_count(memo->verifier);
}
