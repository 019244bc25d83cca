/* The writers of wire/oip.h. */
#include "wire/oip.h"

#include "wire/base64.h"
#include "wire/json_scan.h"
#include "wire/tensor_print.h"

static void put_member(struct buf *out, const char *before, struct str text)
{
	buf_puts(out, before);
	buf_put_json_string(out, text.data, text.len);
}

static enum err_code name_output(const struct method *method, size_t i, enum err_code code, struct err *err)
{
	err_wrap(err, "output '" STR_FMT "'", STR_ARG(method->outputs[i].name));
	return code;
}

static enum err_code check_count(const struct method *method, size_t count, struct err *err)
{
	if (count == method->output_count)
		return ERR_OK;
	return err_set(err, ERR_FAILED_PRECONDITION, "the servable gave %zu outputs, but declares %zu", count,
		       method->output_count);
}

static enum err_code put_output(struct buf *out, struct str name, const struct tensor *tensor, bool binary,
				const struct region_part *part, struct err *err)
{
	if (tensor->dtype == DTYPE_JSON || tensor->dtype == DTYPE_FILE)
		return err_set(err, ERR_INTERNAL, "a document was not made a tensor before the reply was written");
	put_member(out, "{\"name\":", name);
	buf_puts(out, ",\"datatype\":\"");
	buf_puts(out, dtype_name(tensor->dtype));
	buf_puts(out, "\",\"shape\":[");
	for (uint32_t i = 0; i < tensor->rank; i++) {
		char *to = buf_reserve(out, NUMBER_TEXT_MAX + 1);
		if (!to)
			return tensor_print_too_large(err);
		size_t comma = i > 0;
		to[0] = ',';
		buf_advance(out, comma + number_write_i64(to + comma, tensor->shape[i]));
	}
	if (part) {
		put_member(out, "],\"parameters\":{\"shared_memory_region\":", part->region);
		buf_printf(out, ",\"shared_memory_offset\":%llu,\"shared_memory_byte_size\":%zu}", (unsigned long long)part->offset,
			   tensor->len);
	} else if (binary) {
		buf_printf(out, "],\"parameters\":{\"binary_data_size\":%zu}", tensor->len);
	} else {
		buf_puts(out, "],\"data\":");
		enum err_code code = tensor_print(out, tensor, 0, err);
		if (code != ERR_OK)
			return code;
	}
	return buf_putc(out, '}') ? ERR_OK : tensor_print_too_large(err);
}

enum err_code oip_response_write(struct buf *out, struct str model_name, struct str version, struct str id,
				 const struct method *method, const struct tensor *outputs, size_t count,
				 const bool *binary, const struct requested_output *requested, struct str parameters,
				 bool *ret_binary, struct err *err)
{
	bool any = false;
	put_member(out, "{\"model_name\":", model_name);
	if (version.len)
		put_member(out, ",\"model_version\":", version);
	if (id.len)
		put_member(out, ",\"id\":", id);
	if (parameters.len) {
		buf_puts(out, ",\"parameters\":");
		buf_append(out, parameters.data, parameters.len);
	}
	buf_puts(out, ",\"outputs\":[");
	for (size_t i = 0; i < count; i++) {
		const struct region_part *part = requested && requested[i].part.region.len ? &requested[i].part : NULL;
		bool is_binary = binary && binary[i] && !part;
		any = any || is_binary;
		if (i)
			buf_putc(out, ',');
		struct str name = outputs[i].name;
		if (!name.len && i < method->output_count)
			name = method->outputs[i].name;
		enum err_code code = put_output(out, name, &outputs[i], is_binary, part, err);
		if (code != ERR_OK) {
			err_wrap(err, "output '" STR_FMT "'", STR_ARG(name));
			return code;
		}
	}
	if (!buf_puts(out, "]}"))
		return tensor_print_too_large(err);
	*ret_binary = any;
	return ERR_OK;
}

/* ---- DLHub ---- */

static enum err_code put_value(struct buf *out, const struct tensor *tensor, struct err *err)
{
	switch (tensor->dtype) {
	case DTYPE_JSON:
		return buf_append(out, tensor->data, tensor->len) ? ERR_OK : tensor_print_too_large(err);
	case DTYPE_FILE:
		buf_puts(out, "{\"content\":\"");
		base64_encode(out, tensor->data, tensor->len);
		return buf_puts(out, "\"}") ? ERR_OK : tensor_print_too_large(err);
	default:
		return tensor_print(out, tensor, TENSOR_PRINT_NESTED | TENSOR_PRINT_HALF, err);
	}
}

/* The first service put everything into a list but lists and objects, and ndarrays too. */
static bool wants_list(const struct tensor *tensor)
{
	if (tensor->dtype != DTYPE_JSON)
		return tensor->dtype != DTYPE_FILE;
	size_t i = 0;
	while (i < tensor->len && json_scan_is_space(tensor->data[i]))
		i++;
	return i == tensor->len || (tensor->data[i] != '[' && tensor->data[i] != '{');
}

enum err_code dlhub_output_write(struct buf *out, const struct method *method, const struct tensor *outputs,
				 size_t count, bool wrap, struct err *err)
{
	enum err_code code = check_count(method, count, err);
	if (code == ERR_OK)
		code = method_check_documents(method, outputs, count, err);
	if (code != ERR_OK)
		return code;
	bool list = method->tuple_output || count != 1 || (wrap && wants_list(&outputs[0]));
	if (list)
		buf_putc(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_putc(out, ',');
		code = put_value(out, &outputs[i], err);
		if (code != ERR_OK)
			return name_output(method, i, code, err);
	}
	if (list)
		buf_putc(out, ']');
	return out->overflowed ? tensor_print_too_large(err) : ERR_OK;
}
