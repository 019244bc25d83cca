#include "site/inputs.h"

#include "base/alloc.h"
#include "site/pull.h"
#include "site/store_files.h"

#include <sys/stat.h>
#include <unistd.h>

struct inputs {
	struct inputs_options options;
	char *directory;
	struct input *list; /* in the order in which they came */
};

/* Looked for on the pool, pulled where it is not there, looked for again. */
struct input {
	struct input *next;
	struct inputs *inputs;
	uint32_t worker;
	struct digest digest;
	uint64_t bytes;
	input_fn done;
	void *context;
	struct pull *pull;
	struct file_view *view;
	bool pulled, on_pool, dropped, waiting;
	struct err err;
};

static void to_pool(struct input *input);

/* --- ends --- */

static void input_free(struct input *input)
{
	pull_drop(input->pull);
	file_view_unref(input->view);
	err_done(&input->err);
	free(input);
}

static void unlink_input(struct input *input)
{
	struct input **at = &input->inputs->list;
	while (*at != input)
		at = &(*at)->next;
	*at = input->next;
}

/* The oldest that wants this content; the others of it wait for that one. */
static struct input *first_of(const struct inputs *inputs, const struct digest *digest)
{
	struct input *input = inputs->list;
	while (input && !digest_eq(&input->digest, digest))
		input = input->next;
	return input;
}

static void wake_next(struct inputs *inputs, const struct digest *digest)
{
	struct input *input = first_of(inputs, digest);
	if (input && input->waiting) {
		input->waiting = false;
		to_pool(input); /* what the one before it has brought is there */
	}
}

static void finish(struct input *input)
{
	struct inputs *inputs = input->inputs;
	struct digest digest = input->digest;
	unlink_input(input);
	input->done(input->context, TAKE(input->view), &input->err);
	input_free(input);
	wake_next(inputs, &digest);
}

void input_forget(struct input *input)
{
	struct inputs *inputs = input->inputs;
	struct digest digest = input->digest;
	unlink_input(input);
	input->dropped = true;
	if (!input->on_pool)
		input_free(input);
	wake_next(inputs, &digest);
}

/* --- on the pool --- */

static enum err_code look(struct input *input, struct err *err)
{
	struct blob_store *blobs = input->inputs->options.blobs;
	char name[SHA256_HEX + 1];
	int64_t bytes;
	int fd;
	enum err_code code = blob_open(blobs, &input->digest, &fd, &bytes, err);
	if (code != ERR_OK)
		return code;
	digest_format(&input->digest, name);
	(void)!futimens(fd, NULL); /* used now */
	return file_view_take(fd, name, (size_t)input->bytes, &input->digest, &input->view, err);
}

static void work_look(void *context)
{
	struct input *input = context;
	const struct inputs *inputs = input->inputs;
	struct err err = ERR_INIT;
	enum err_code code = look(input, &err);
	if (code == ERR_OK && input->pulled)
		store_drop_inputs(inputs->directory, inputs->options.blobs, inputs->options.cache_bytes);
	if (code == ERR_DATA_LOSS && !input->pulled)
		code = blob_remove(inputs->options.blobs, &input->digest, &input->err) == ERR_OK ? ERR_NOT_FOUND : code;
	else if (code != ERR_OK && (code != ERR_NOT_FOUND || input->pulled))
		err_move(&input->err, &err);
	err_done(&err);
}

static void start_pull(struct input *input);

static void on_looked(void *context)
{
	struct input *input = context;
	input->on_pool = false;
	if (input->dropped)
		input_free(input);
	else if (input->view || input->err.code != ERR_OK)
		finish(input);
	else
		start_pull(input);
}

static void to_pool(struct input *input)
{
	input->on_pool = pool_submit(input->inputs->options.loop, LANE_DISK, work_look, on_looked, input);
	if (input->on_pool)
		return;
	err_set(&input->err, ERR_UNAVAILABLE, "the site's disk has too much to do");
	finish(input);
}

/* --- pulling --- */

static void fetch(void *context, const struct digest *digest, uint64_t offset)
{
	struct input *input = context;
	input->inputs->options.fetch(input->inputs->options.context, input->worker, digest, offset);
}

static void on_pulled(void *context, const struct err *err)
{
	struct input *input = context;
	if (err->code != ERR_OK)
		err_set(&input->err, err->code, "an input that the run names could not be brought to the site: %s", err_text(err));
	pull_drop(TAKE(input->pull));
	if (input->err.code != ERR_OK)
		finish(input);
	else
		to_pool(input);
}

static void start_pull(struct input *input)
{
	const struct inputs *inputs = input->inputs;
	_cleanup_free_ char *folder = xasprintf("%s/pull", inputs->directory);
	const struct pull_options options = { .loop = inputs->options.loop, .blobs = inputs->options.blobs, .folder = folder,
					      .fetch = fetch, .on_done = on_pulled, .context = input };
	input->pulled = true;
	input->pull = pull_create(&options);
	pull_add(input->pull, &input->digest, (int64_t)input->bytes);
	pull_start(input->pull);
}

/* --- the way --- */

static void begin(void *context)
{
	struct input *input = context;
	input->on_pool = false;
	if (input->dropped) {
		input_free(input);
		return;
	}
	to_pool(input);
}

struct input *inputs_bring(struct inputs *inputs, uint32_t worker, const struct digest *digest, uint64_t bytes, input_fn done,
			   void *context)
{
	struct input *input = NEW(struct input);
	*input = (struct input){ .inputs = inputs, .worker = worker, .digest = *digest, .bytes = bytes, .done = done,
				 .context = context };
	input->waiting = first_of(inputs, digest) != NULL;
	struct input **at = &inputs->list;
	while (*at)
		at = &(*at)->next;
	*at = input;
	if (!input->waiting) {
		input->on_pool = true; /* held until begin() */
		loop_post(inputs->options.loop, begin, input);
	}
	return input;
}

void inputs_take(struct inputs *inputs, uint32_t worker, const struct site_piece *piece, uint64_t offset, const uint8_t *data,
		 size_t len)
{
	for (struct input *input = inputs->list; input; input = input->next)
		if (input->worker == worker && input->pull && pull_take(input->pull, piece, offset, data, len))
			return;
}

void inputs_connected(struct inputs *inputs)
{
	for (struct input *input = inputs->list; input; input = input->next)
		if (input->pull)
			pull_again(input->pull);
}

struct inputs *inputs_create(const struct inputs_options *options)
{
	struct inputs *inputs = NEW(struct inputs);
	inputs->options = *options;
	inputs->directory = xstrdup(options->directory);
	return inputs;
}

void inputs_destroy(struct inputs *inputs)
{
	if (!inputs)
		return;
	while (inputs->list) {
		struct input *input = inputs->list;
		inputs->list = input->next;
		input_free(input);
	}
	free(inputs->directory);
	free(inputs);
}
