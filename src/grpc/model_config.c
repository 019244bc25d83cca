/* ModelMetadata and ModelConfig: what schedule/model_config.h says, as messages. */
#include "grpc/model_calls.h"

#include "inference.pb-c.h"
#include "schedule/model_config.h"

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory for the answer");
}

/* Zeroed or initialised, in the arena; NULL: it is full. */
static void *make(struct arena *arena, const ProtobufCMessageDescriptor *type)
{
	void *message = arena_try(arena, type->sizeof_message);
	if (message)
		protobuf_c_message_init(type, message);
	return message;
}

static enum err_code fill(struct unary *unary, struct model_config *ret, struct err *err)
{
	return model_config_fill(unary->servable, unary->parts->settings, &unary->message->arena, ret, err);
}

/* --- metadata --- */

static enum err_code put_tensors(struct arena *arena, const struct model_tensor *tensors, size_t count,
				 Inference__ModelMetadataResponse__TensorMetadata ***ret, struct err *err)
{
	if (!(*ret = arena_try(arena, (count + 1) * sizeof(**ret))))
		return no_memory(err);
	for (size_t i = 0; i < count; i++) {
		Inference__ModelMetadataResponse__TensorMetadata *tensor =
			make(arena, &inference__model_metadata_response__tensor_metadata__descriptor);
		if (!tensor || !(tensor->name = arena_strndup(arena, tensors[i].name.data, tensors[i].name.len)))
			return no_memory(err);
		tensor->datatype = (char *)dtype_name(tensors[i].dtype);
		tensor->shape = (int64_t *)tensors[i].shape;
		tensor->n_shape = tensors[i].rank;
		(*ret)[i] = tensor;
	}
	return ERR_OK;
}

/* On the pool: every version that is there, the oldest first. */
static void find_versions(struct unary *unary)
{
	struct version_row *rows = NULL;
	size_t count = 0;
	struct arena *arena = &unary->message->arena;
	Inference__ModelMetadataResponse *reply = unary->state;
	if (catalog_versions_list(unary->parts->catalog, unary->servable->owner, unary->servable->name, &rows, &count,
				  &unary->err) != ERR_OK)
		return;
	reply->versions = arena_try(arena, (count + 1) * sizeof(*reply->versions));
	for (size_t i = 0; i < count; i++) {
		char text[24];
		int len = snprintf(text, sizeof(text), "%lld", (long long)rows[count - 1 - i].number);
		if (reply->versions && !(reply->versions[i] = arena_strndup(arena, text, (size_t)len)))
			reply->versions = NULL;
		version_row_done(&rows[count - 1 - i]);
	}
	free(rows);
	reply->n_versions = count;
	if (!reply->versions)
		no_memory(&unary->err);
}

static void reply_metadata(struct unary *unary)
{
	const Inference__ModelMetadataResponse *reply = unary->state;
	unary_reply(unary, &reply->base);
}

enum err_code model_metadata(struct unary *unary, struct err *err)
{
	struct model_config config;
	struct arena *arena = &unary->message->arena;
	Inference__ModelMetadataResponse *reply = make(arena, &inference__model_metadata_response__descriptor);
	if (!reply)
		return no_memory(err);
	enum err_code code = fill(unary, &config, err);
	if (code == ERR_OK)
		code = put_tensors(arena, config.inputs, config.input_count, &reply->inputs, err);
	if (code == ERR_OK)
		code = put_tensors(arena, config.outputs, config.output_count, &reply->outputs, err);
	if (code != ERR_OK)
		return code;
	reply->name = (char *)config.name;
	reply->platform = (char *)config.platform;
	reply->n_inputs = config.input_count;
	reply->n_outputs = config.output_count;
	unary->state = reply;
	return unary_to_pool(unary, LANE_CATALOG, find_versions, reply_metadata, err);
}

/* --- configuration --- */

static enum err_code put_inputs(struct arena *arena, const struct model_config *config, Inference__ModelConfig *reply,
				struct err *err)
{
	if (!(reply->input = arena_try(arena, (config->input_count + 1) * sizeof(*reply->input))))
		return no_memory(err);
	for (size_t i = 0; i < config->input_count; i++) {
		const struct model_tensor *tensor = &config->inputs[i];
		Inference__ModelInput *input = make(arena, &inference__model_input__descriptor);
		uint32_t rank;
		int type;
		if (!input || !(input->name = arena_strndup(arena, tensor->name.data, tensor->name.len)))
			return no_memory(err);
		input->dims = (int64_t *)model_config_dims(config, tensor, &rank);
		input->n_dims = rank;
		(void)model_config_type(tensor->dtype, &type);
		input->data_type = (Inference__DataType)type;
		reply->input[reply->n_input++] = input;
	}
	return ERR_OK;
}

static enum err_code put_outputs(struct arena *arena, const struct model_config *config, Inference__ModelConfig *reply,
				 struct err *err)
{
	if (!(reply->output = arena_try(arena, (config->output_count + 1) * sizeof(*reply->output))))
		return no_memory(err);
	for (size_t i = 0; i < config->output_count; i++) {
		const struct model_tensor *tensor = &config->outputs[i];
		Inference__ModelOutput *output = make(arena, &inference__model_output__descriptor);
		uint32_t rank;
		int type;
		if (!output || !(output->name = arena_strndup(arena, tensor->name.data, tensor->name.len)))
			return no_memory(err);
		output->dims = (int64_t *)model_config_dims(config, tensor, &rank);
		output->n_dims = rank;
		(void)model_config_type(tensor->dtype, &type);
		output->data_type = (Inference__DataType)type;
		reply->output[reply->n_output++] = output;
	}
	return ERR_OK;
}

enum err_code model_config(struct unary *unary, struct err *err)
{
	struct model_config config;
	struct arena *arena = &unary->message->arena;
	enum err_code code = fill(unary, &config, err);
	if (code != ERR_OK)
		return code;

	Inference__ModelVersionPolicy__All all = INFERENCE__MODEL_VERSION_POLICY__ALL__INIT;
	Inference__ModelVersionPolicy versions = INFERENCE__MODEL_VERSION_POLICY__INIT;
	versions.policy_choice_case = INFERENCE__MODEL_VERSION_POLICY__POLICY_CHOICE_ALL;
	versions.all = &all;

	Inference__ModelInstanceGroup group = INFERENCE__MODEL_INSTANCE_GROUP__INIT, *groups[] = { &group };
	group.name = (char *)"workers";
	group.count = (int32_t)config.instances;
	group.kind = INFERENCE__MODEL_INSTANCE_GROUP__KIND__KIND_CPU;

	Inference__ModelQueuePolicy queue = INFERENCE__MODEL_QUEUE_POLICY__INIT;
	queue.default_timeout_microseconds = (uint64_t)config.timeout_us;
	queue.allow_timeout_override = true;
	queue.max_queue_size = (uint32_t)config.queue_runs;

	int32_t preferred[PREFERRED_MAX];
	for (size_t i = 0; i < config.preferred_count; i++)
		preferred[i] = (int32_t)config.preferred[i];
	Inference__ModelDynamicBatching batching = INFERENCE__MODEL_DYNAMIC_BATCHING__INIT;
	batching.preferred_batch_size = preferred;
	batching.n_preferred_batch_size = config.preferred_count;
	batching.max_queue_delay_microseconds = (uint64_t)config.delay_us;
	batching.priority_levels = (uint64_t)config.priority_levels;
	batching.default_priority_level = (uint64_t)config.default_priority;
	batching.default_queue_policy = &queue;

	const struct {
		const char *key, *value;
	} texts[] = { { "digest", config.digest }, { "version", config.version } };
	Inference__ModelParameter values[ARRAY_SIZE(texts)];
	Inference__ModelConfig__ParametersEntry entries[ARRAY_SIZE(texts)], *parameters[ARRAY_SIZE(texts)];
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		inference__model_parameter__init(&values[i]);
		inference__model_config__parameters_entry__init(&entries[i]);
		values[i].string_value = (char *)texts[i].value;
		entries[i].key = (char *)texts[i].key;
		entries[i].value = &values[i];
		parameters[i] = &entries[i];
	}
	Inference__ModelTransactionPolicy policy = INFERENCE__MODEL_TRANSACTION_POLICY__INIT;
	Inference__ModelResponseCache cache = INFERENCE__MODEL_RESPONSE_CACHE__INIT;
	cache.enable = config.response_cache;

	Inference__ModelConfig message = INFERENCE__MODEL_CONFIG__INIT;
	code = put_inputs(arena, &config, &message, err);
	if (code == ERR_OK)
		code = put_outputs(arena, &config, &message, err);
	if (code != ERR_OK)
		return code;
	message.name = (char *)config.name;
	message.platform = (char *)config.platform;
	message.backend = (char *)config.backend;
	message.version_policy = &versions;
	message.max_batch_size = (int32_t)config.max_batch_size;
	message.instance_group = groups;
	message.n_instance_group = 1;
	message.dynamic_batching = config.max_batch_size ? &batching : NULL;
	message.parameters = parameters;
	message.n_parameters = ARRAY_SIZE(texts);
	message.model_transaction_policy = &policy;
	message.response_cache = &cache;
	Inference__ModelConfigResponse reply = INFERENCE__MODEL_CONFIG_RESPONSE__INIT;
	reply.config = &message;
	unary_reply(unary, &reply.base);
	return ERR_OK;
}
