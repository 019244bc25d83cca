#include "schedule/model_config.h"

static struct model_tensor *tensors_of(struct arena *arena, const struct argument *arguments, size_t count)
{
	struct model_tensor *tensors = arena_try(arena, (count + 1) * sizeof(*tensors));
	for (size_t i = 0; tensors && i < count; i++) {
		tensors[i].name = arguments[i].name;
		tensors[i].dtype = argument_oip(&arguments[i], tensors[i].shape, &tensors[i].rank);
	}
	return tensors;
}

/* Rows can be joined along axis 0 only where each argument is an ndarray that has it free. */
static bool has_rows(const struct argument *arguments, size_t count, uint32_t least_rank)
{
	for (size_t i = 0; i < count; i++)
		if (arguments[i].dtype == DTYPE_JSON || arguments[i].dtype == DTYPE_FILE || arguments[i].any_shape ||
		    arguments[i].rank < least_rank || arguments[i].shape[0] >= 0)
			return false;
	return count > 0;
}

enum err_code model_config_fill(const struct servable *servable, const struct settings *settings, struct arena *arena,
				struct model_config *ret, struct err *err)
{
	const struct method *method = signature_method(servable->signature, STR("run"));
	const struct serving_options *options = &servable->options;
	if (!method)
		return err_set(err, ERR_FAILED_PRECONDITION, "%s has no method 'run'", servable->full_name);
	struct model_config config = {
		.name = servable->full_name,
		.version = servable->number_text,
		.platform = servable->platform,
		.backend = str_starts(servable->platform, "dlhub_") ? servable->platform + strlen("dlhub_") : servable->platform,
		.digest = servable->digest,
		.inputs = tensors_of(arena, method->inputs, method->input_count),
		.outputs = tensors_of(arena, method->outputs, method->output_count),
		.input_count = method->input_count,
		.output_count = method->output_count,
		.priority_levels = PRIORITY_LEVELS,
		.default_priority = options->priority,
		.queue_runs = options->queue,
		.timeout_us = settings_int(settings, SETTING_LIMITS_RUN_S) * 1000000,
		.instances = options->replicas_max,
		.response_cache = options->memo.on,
	};
	if (!config.inputs || !config.outputs)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to describe %s", servable->full_name);
	/* An input without any axis beside that of the batch has no dims left, and perf_analyzer cannot send it. */
	if (options->batch.on && options->batch.axis == 0 && has_rows(method->inputs, method->input_count, 2) &&
	    has_rows(method->outputs, method->output_count, 1)) {
		config.max_batch_size = options->batch.max;
		config.delay_us = options->batch.delay_ns / 1000;
		config.preferred_count = options->batch.preferred_count;
		memcpy(config.preferred, options->batch.preferred, sizeof(config.preferred));
	}
	*ret = config;
	return ERR_OK;
}

const int64_t *model_config_dims(const struct model_config *config, const struct model_tensor *tensor, uint32_t *ret_rank)
{
	uint32_t skip = config->max_batch_size > 0;
	*ret_rank = tensor->rank - skip;
	return tensor->shape + skip;
}

const char *model_config_type(enum dtype dtype, int *ret_number)
{
	static const struct {
		const char *name;
		int number;
	} types[DTYPE_COUNT] = {
		[DTYPE_INVALID] = { "TYPE_INVALID", 0 }, [DTYPE_BOOL] = { "TYPE_BOOL", 1 },
		[DTYPE_UINT8] = { "TYPE_UINT8", 2 },	 [DTYPE_UINT16] = { "TYPE_UINT16", 3 },
		[DTYPE_UINT32] = { "TYPE_UINT32", 4 },	 [DTYPE_UINT64] = { "TYPE_UINT64", 5 },
		[DTYPE_INT8] = { "TYPE_INT8", 6 },	 [DTYPE_INT16] = { "TYPE_INT16", 7 },
		[DTYPE_INT32] = { "TYPE_INT32", 8 },	 [DTYPE_INT64] = { "TYPE_INT64", 9 },
		[DTYPE_FP16] = { "TYPE_FP16", 10 },	 [DTYPE_FP32] = { "TYPE_FP32", 11 },
		[DTYPE_FP64] = { "TYPE_FP64", 12 },	 [DTYPE_BYTES] = { "TYPE_STRING", 13 },
		[DTYPE_BF16] = { "TYPE_BF16", 14 },
	};
	*ret_number = types[dtype].number;
	return types[dtype].name ?: types[DTYPE_INVALID].name;
}
