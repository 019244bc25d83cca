#include "schedule/batch.h"

#include "base/alloc.h"
#include "base/json.h"
#include "schedule/servable.h"

#define PARTS_FIRST 8u
#define BYTES_PREFIX 4u /* the length of each element of a BYTES tensor */

/* --- what may be joined --- */

static bool axis_is_free(const struct argument *argument, int axis)
{
	return argument->any_shape || ((uint32_t)axis < argument->rank && argument->shape[axis] < 0);
}

/* Rows of one input along the axis; 0: it cannot be joined with another along it. */
static int64_t input_rows(const struct argument *argument, const struct tensor *tensor, int axis)
{
	if ((uint32_t)axis >= tensor->rank || !axis_is_free(argument, axis))
		return 0;
	if (dtype_size(tensor->dtype))
		return tensor->shape[axis];
	/* The elements of BYTES have lengths of their own: only whole rows lie together. */
	return tensor->dtype == DTYPE_BYTES && axis == 0 ? tensor->shape[0] : 0;
}

static struct str key_of(struct run *run, const char *key)
{
	struct str all = run->request.parameters;
	if (!key)
		return all;
	_cleanup_json_ json_t *parameters = all.len ? json_loadb(all.data, all.len, 0, NULL) : NULL;
	json_t *member = json_object_get(parameters, key);
	if (!member)
		return (struct str){ 0 };
	_cleanup_free_ char *text = json_dumps(member, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	char *copy = text ? arena_strndup(&run->arena, text, strlen(text)) : NULL;
	return copy ? str_of(copy) : all;
}

void batch_prepare(struct run *run, int axis, const char *key)
{
	const struct run_request *request = &run->request;
	run->rows = 0;
	/* What it prints belongs to one caller; what lies in files is not brought together. */
	if (request->debug || !request->input_count || run->files)
		return;
	int64_t rows = input_rows(&run->method->inputs[0], &request->inputs[0], axis);
	for (size_t i = 1; i < request->input_count; i++)
		if (input_rows(&run->method->inputs[i], &request->inputs[i], axis) != rows)
			return;
	if (!rows)
		return;
	run->rows = rows;
	run->batch_key = key_of(run, key);
}

static bool same_but_axis(const struct tensor *a, const struct tensor *b, int axis)
{
	if (a->dtype != b->dtype || a->rank != b->rank)
		return false;
	for (uint32_t i = 0; i < a->rank; i++)
		if (i != (uint32_t)axis && a->shape[i] != b->shape[i])
			return false;
	return true;
}

static size_t input_bytes(const struct run *run)
{
	size_t bytes = 0;
	for (size_t i = 0; i < run->request.input_count; i++)
		bytes += run->request.inputs[i].len;
	return bytes;
}

bool batch_takes(const struct batch *batch, const struct run *run)
{
	const struct run *first = batch->parts[0].run;
	const struct run_request *a = &first->request, *b = &run->request;
	if (!first->rows || !run->rows || first->isolated || run->isolated)
		return false;
	if (!str_eq(first->method->name, run->method->name) || !str_eq(first->batch_key, run->batch_key) ||
	    a->input_count != b->input_count || batch->bytes + input_bytes(run) > BATCH_BYTES_MAX)
		return false;
	for (size_t i = 0; i < a->input_count; i++) /* both are in the method's order */
		if (!same_but_axis(&a->inputs[i], &b->inputs[i], batch->axis))
			return false;
	return true;
}

/* --- the batch --- */

struct batch *batch_create(struct run *run, int axis)
{
	struct batch *batch = NEW(struct batch);
	batch->servable = servable_ref(run->servable);
	batch->method = run->method;
	batch->parts = batch->single;
	batch->parts[0] = (struct batch_part){ run, run->rows };
	batch->count = 1;
	batch->rows = run->rows;
	batch->bytes = input_bytes(run);
	batch->axis = axis;
	batch->deadline_ns = run->deadline_ns;
	run->batch = batch;
	return batch;
}

void batch_add(struct batch *batch, struct run *run)
{
	if (batch->parts == batch->single) {
		batch->parts = xcalloc(PARTS_FIRST, sizeof(*batch->parts));
		batch->parts[0] = batch->single[0];
	} else if (batch->count >= PARTS_FIRST && (batch->count & (batch->count - 1)) == 0) {
		batch->parts = xrealloc(batch->parts, 2 * batch->count * sizeof(*batch->parts));
	}
	batch->parts[batch->count++] = (struct batch_part){ run, run->rows };
	batch->rows += run->rows;
	batch->bytes += input_bytes(run);
	batch->deadline_ns = MAX(batch->deadline_ns, run->deadline_ns);
	run->batch = batch;
}

void batch_leave(struct batch *batch, struct run *run)
{
	size_t i = 0;
	while (batch->parts[i].run != run)
		i++;
	batch->parts[i].run = NULL;
	batch->left_count++;
	run->batch = NULL;
}

struct run *batch_drop_last(struct batch *batch)
{
	struct batch_part *part = &batch->parts[--batch->count];
	batch->rows -= part->rows;
	batch->bytes -= input_bytes(part->run);
	part->run->batch = NULL;
	batch->deadline_ns = 0;
	for (size_t i = 0; i < batch->count; i++)
		batch->deadline_ns = MAX(batch->deadline_ns, batch->parts[i].run->deadline_ns);
	return part->run;
}

struct run *batch_only_run(const struct batch *batch)
{
	return batch->count == 1 ? batch->parts[0].run : NULL;
}

void batch_destroy(struct batch *batch)
{
	if (!batch)
		return;
	if (batch->parts != batch->single)
		free(batch->parts);
	servable_unref(batch->servable);
	err_done(&batch->err);
	free(batch);
}

/* --- inputs --- */

enum err_code batch_inputs(struct batch *batch, struct tensor **ret, size_t *ret_count, struct err *err)
{
	struct run_request *request = &batch->parts[0].run->request;
	*ret_count = request->input_count;
	if (batch->count == 1) {
		*ret = request->inputs;
		return ERR_OK;
	}
	struct tensor *inputs = arena_try(&batch->parts[0].run->arena, request->input_count * sizeof(*inputs));
	if (!inputs)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the %zu inputs of a batch", request->input_count);
	for (size_t i = 0; i < request->input_count; i++) {
		inputs[i] = request->inputs[i];
		inputs[i].data = NULL;
		inputs[i].shape[batch->axis] = batch->rows;
		for (size_t k = 1; k < batch->count; k++)
			inputs[i].len += batch->parts[k].run->request.inputs[i].len;
	}
	*ret = inputs;
	return ERR_OK;
}

/* How many pieces each run's part of a tensor is in: the product of the axes before the batch axis. */
static size_t piece_count(const struct tensor *tensor, int axis)
{
	size_t count = 1;
	for (int i = 0; i < axis; i++)
		count *= (size_t)tensor->shape[i];
	return count;
}

void batch_copy(const struct batch *batch, size_t i, uint8_t *to)
{
	size_t pieces = batch->count > 1 ? piece_count(&batch->parts[0].run->request.inputs[i], batch->axis) : 1;
	for (size_t piece = 0; piece < pieces; piece++)
		for (size_t k = 0; k < batch->count; k++) {
			const struct tensor *tensor = &batch->parts[k].run->request.inputs[i];
			size_t len = tensor->len / pieces;
			if (len)
				memcpy(to, tensor->data + piece * len, len);
			to += len;
		}
}

/* --- outputs --- */

/* Bytes of the next `count` elements of BYTES. tensor_check() has walked them once, in memory that is ours. */
static size_t elements_len(const uint8_t *data, int64_t count)
{
	size_t at = 0;
	for (int64_t i = 0; i < count; i++) {
		uint32_t len;
		memcpy(&len, data + at, sizeof(len));
		at += BYTES_PREFIX + len;
	}
	return at;
}

/* Where the parts of one output lie while it is dealt out. */
struct cutter {
	const struct tensor *whole;
	int axis;
	int64_t row;	   /* first of the next part */
	size_t at;	   /* BYTES: where it begins */
	int64_t row_items; /* BYTES: elements of a row */
};

static enum err_code cutter_init(struct cutter *cutter, const struct batch *batch, const struct tensor *whole, struct err *err)
{
	char shape[128];
	bool strings = whole->dtype == DTYPE_BYTES && batch->axis == 0;
	*cutter = (struct cutter){ .whole = whole, .axis = batch->axis, .row_items = 1 };
	if ((uint32_t)batch->axis >= whole->rank || whole->shape[batch->axis] != batch->rows ||
	    (!dtype_size(whole->dtype) && !strings)) {
		shape_format(whole->shape, whole->rank, shape, sizeof(shape));
		return err_set(err, ERR_UNKNOWN,
			       "output '" STR_FMT "' (%s %s) of a batch of %lld rows has no axis %d of that many rows to be split along",
			       STR_ARG(whole->name), dtype_name(whole->dtype), shape, (long long)batch->rows, batch->axis);
	}
	for (uint32_t i = 1; strings && i < whole->rank; i++)
		cutter->row_items *= whole->shape[i];
	return ERR_OK;
}

/* The descriptor of the next `rows` rows; its data are not there yet. */
static struct tensor cutter_next(struct cutter *cutter, int64_t rows, size_t *ret_from)
{
	const struct tensor *whole = cutter->whole;
	struct tensor part = *whole;
	part.data = NULL;
	part.shape[cutter->axis] = rows;
	*ret_from = cutter->at;
	if (whole->dtype == DTYPE_BYTES) {
		part.len = elements_len(whole->data + cutter->at, rows * cutter->row_items);
		cutter->at += part.len;
	} else {
		int64_t all = whole->shape[cutter->axis];
		part.len = whole->len / (size_t)all * (size_t)rows;
		size_t pieces = MAX(piece_count(whole, cutter->axis), 1u); /* 0: an axis before it is empty, and so is all */
		*ret_from = whole->len / (size_t)all / pieces * (size_t)cutter->row;
	}
	cutter->row += rows;
	return part;
}

/* Copies the part out of the whole: from the begin of each piece `from` bytes on. */
static void copy_part(const struct tensor *whole, const struct tensor *part, int axis, size_t from, uint8_t *to)
{
	size_t pieces = part->dtype == DTYPE_BYTES ? 1 : piece_count(whole, axis);
	size_t step = whole->len / pieces, len = part->len / pieces;
	for (size_t i = 0; i < pieces; i++)
		memcpy(to + i * len, whole->data + i * step + from, len);
}

static enum err_code over_limit(size_t i, size_t len, int64_t limit, struct err *err)
{
	return err_set(err, ERR_OUT_OF_RANGE,
		       "output %zu has %zu bytes, and all outputs together may have %lld (limits.output_bytes)", i, len,
		       (long long)limit);
}

static uint8_t *take_room(struct run *run, size_t i, size_t len, int64_t *left, int64_t limit)
{
	if ((int64_t)len > *left) {
		over_limit(i, len, limit, &run->err);
		return NULL;
	}
	*left -= (int64_t)len;
	uint8_t *room = arena_try(&run->arena, len + 1);
	if (!room)
		err_set(&run->err, ERR_RESOURCE_EXHAUSTED, "no memory for an output of %zu bytes", len);
	return room;
}

static void take_metadata(struct run *run, struct str metadata)
{
	if (!metadata.len)
		return;
	run->metadata = (struct str){ arena_strndup(&run->arena, metadata.data, metadata.len), metadata.len };
	if (!run->metadata.data) {
		run->metadata.len = 0;
		err_set(&run->err, ERR_RESOURCE_EXHAUSTED, "no memory for metadata");
	}
}

/* Memory for the descriptors; NULL with the run's error. */
static struct tensor *take_descriptors(struct run *run, size_t count)
{
	struct tensor *outputs = arena_try(&run->arena, MAX(count, 1u) * sizeof(*outputs));
	if (!outputs)
		err_set(&run->err, ERR_RESOURCE_EXHAUSTED, "no memory for %zu outputs", count);
	return outputs;
}

/* Nothing of it has to be checked, so that it does not matter who can still write there. */
static bool is_plain(const struct tensor *tensor)
{
	return dtype_size(tensor->dtype) && tensor->dtype != DTYPE_BOOL;
}

static void take_whole(struct run *run, const struct tensor *whole, size_t count, int64_t limit,
		       const struct batch_lender *lender)
{
	int64_t left = limit;
	struct tensor *outputs = take_descriptors(run, count);
	for (size_t i = 0; outputs && i < count; i++) {
		if (lender && is_plain(&whole[i]) && (int64_t)whole[i].len <= left && lender->lend(lender->context, run, &whole[i])) {
			left -= (int64_t)whole[i].len;
			outputs[i] = whole[i];
			continue;
		}
		uint8_t *copy = take_room(run, i, whole[i].len, &left, limit);
		if (!copy)
			return;
		if (whole[i].len)
			memcpy(copy, whole[i].data, whole[i].len);
		outputs[i] = whole[i];
		outputs[i].data = copy;
	}
	/* Checked here, in our copy: what lies in shared memory can change. */
	if (!outputs || method_check_outputs(run->method, outputs, count, &run->err) != ERR_OK)
		return;
	for (size_t i = 0; i < count; i++)
		outputs[i].name = run->method->outputs[i].name; /* its own lay in the frame */
	run->outputs = outputs;
	run->output_count = count;
}

/* Puts the next `rows` rows of each output into the run, which is NULL where it has left. */
static void take_part(struct run *run, int64_t rows, struct cutter *cutters, size_t count, int64_t limit)
{
	int64_t left = limit;
	struct tensor *outputs = run ? take_descriptors(run, count) : NULL;
	for (size_t i = 0; i < count; i++) { /* to the end: each cutter must pass these rows */
		size_t from;
		struct tensor part = cutter_next(&cutters[i], rows, &from);
		if (!run || run->err.code != ERR_OK)
			continue;
		part.name = run->method->outputs[i].name;
		part.data = take_room(run, i, part.len, &left, limit);
		if (!part.data)
			continue;
		if (part.len)
			copy_part(cutters[i].whole, &part, cutters[i].axis, from, part.data);
		outputs[i] = part;
	}
	if (!run || run->err.code != ERR_OK)
		return;
	run->outputs = outputs;
	run->output_count = count;
}

static enum err_code init_cutters(struct cutter *cutters, const struct batch *batch, const struct tensor *whole, size_t count,
				  struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (cutter_init(&cutters[i], batch, &whole[i], err) != ERR_OK)
			return ERR_UNKNOWN;
	return ERR_OK;
}

enum err_code batch_take_outputs(struct batch *batch, const struct tensor *outputs, size_t count, struct str metadata,
				 int64_t limit_bytes, const struct batch_lender *lender, struct err *err)
{
	if (batch->count == 1) {
		struct run *run = batch->parts[0].run;
		if (run)
			take_whole(run, outputs, count, limit_bytes, lender);
		if (run && run->err.code == ERR_OK)
			take_metadata(run, metadata);
		return ERR_OK;
	}
	_cleanup_free_ struct tensor *whole = xcalloc(count + 1, sizeof(*whole));
	_cleanup_free_ struct cutter *cutters = xcalloc(count + 1, sizeof(*cutters));
	if (count)
		memcpy(whole, outputs, count * sizeof(*whole));
	/* Twice: the check must not read a document that lies in shared memory, and may change the order. */
	enum err_code code = init_cutters(cutters, batch, whole, count, err);
	if (code == ERR_OK)
		code = method_check_outputs(batch->method, whole, count, err);
	if (code == ERR_OK)
		code = init_cutters(cutters, batch, whole, count, err);
	batch->unsplit = code != ERR_OK;
	for (size_t k = 0; k < batch->count && code == ERR_OK; k++) {
		struct run *run = batch->parts[k].run;
		take_part(run, batch->parts[k].rows, cutters, count, limit_bytes);
		if (run && run->err.code == ERR_OK)
			take_metadata(run, metadata);
	}
	return code;
}
