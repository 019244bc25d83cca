#include "wire/npy.h"

#define MAGIC	  "\x93NUMPY"
#define MAGIC_LEN 6

static const struct {
	const char *descr; /* without the byte order */
	enum dtype dtype;
} kinds[] = {
	{ "b1", DTYPE_BOOL },	{ "u1", DTYPE_UINT8 }, { "u2", DTYPE_UINT16 }, { "u4", DTYPE_UINT32 },
	{ "u8", DTYPE_UINT64 }, { "i1", DTYPE_INT8 },  { "i2", DTYPE_INT16 },  { "i4", DTYPE_INT32 },
	{ "i8", DTYPE_INT64 },	{ "f2", DTYPE_FP16 },  { "f4", DTYPE_FP32 },   { "f8", DTYPE_FP64 },
};

struct header {
	char order;    /* '<', '>', '|', '=' */
	char kind[16]; /* "f4", "U12" */
	bool fortran;
	uint32_t rank;
	int64_t shape[TENSOR_RANK_MAX];
	bool has_descr, has_fortran, has_shape;
};

bool npy_is(const void *data, size_t len)
{
	return len >= MAGIC_LEN + 2 && memcmp(data, MAGIC, MAGIC_LEN) == 0;
}

/* --- the header: a Python dict literal of three keys --- */

struct scan {
	const char *at, *end;
};

static void skip_space(struct scan *scan)
{
	while (scan->at < scan->end && strchr(" \t\r\n", *scan->at) && *scan->at)
		scan->at++;
}

static bool take(struct scan *scan, const char *text)
{
	skip_space(scan);
	size_t len = strlen(text);
	if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, text, len) != 0)
		return false;
	scan->at += len;
	return true;
}

static bool take_quoted(struct scan *scan, char *text, size_t size)
{
	skip_space(scan);
	if (scan->at == scan->end || (*scan->at != '\'' && *scan->at != '"'))
		return false;
	char quote = *scan->at++;
	size_t len = 0;
	while (scan->at < scan->end && *scan->at != quote) {
		if (*scan->at == '\\' || len + 1 >= size)
			return false;
		text[len++] = *scan->at++;
	}
	text[len] = '\0';
	return scan->at++ < scan->end;
}

static bool take_size(struct scan *scan, int64_t *ret)
{
	skip_space(scan);
	const char *from = scan->at;
	int64_t value = 0;
	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *scan->at - '0', &value))
			return false;
		scan->at++;
	}
	if (scan->at > from)
		take(scan, "L"); /* Python 2 wrote 3L */
	*ret = value;
	return scan->at > from;
}

static bool take_shape(struct scan *scan, struct header *header)
{
	if (!take(scan, "("))
		return false;
	while (!take(scan, ")")) {
		if (header->rank == TENSOR_RANK_MAX || !take_size(scan, &header->shape[header->rank++]))
			return false;
		if (!take(scan, ",")) {
			return take(scan, ")");
		}
	}
	return true;
}

static bool take_member(struct scan *scan, struct header *header)
{
	char key[24], descr[24];
	if (!take_quoted(scan, key, sizeof(key)) || !take(scan, ":"))
		return false;
	if (strcmp(key, "descr") == 0 && !header->has_descr) {
		header->has_descr = true;
		if (!take_quoted(scan, descr, sizeof(descr)) || strlen(descr) < 2)
			return false;
		bool ordered = strchr("<>|=", descr[0]) != NULL;
		header->order = ordered ? descr[0] : '=';
		return str_copy(header->kind, sizeof(header->kind), descr + ordered);
	}
	if (strcmp(key, "fortran_order") == 0 && !header->has_fortran) {
		header->has_fortran = true;
		header->fortran = take(scan, "True");
		return header->fortran || take(scan, "False");
	}
	if (strcmp(key, "shape") == 0 && !header->has_shape) {
		header->has_shape = true;
		return take_shape(scan, header);
	}
	return false;
}

static bool parse_header(const char *text, size_t len, struct header *header)
{
	struct scan scan = { text, text + len };
	if (!take(&scan, "{"))
		return false;
	while (!take(&scan, "}")) {
		if (!take_member(&scan, header))
			return false;
		if (!take(&scan, ",") && !take(&scan, "}"))
			return false;
		if (scan.at[-1] == '}')
			break;
	}
	return header->has_descr && header->has_fortran && header->has_shape;
}

/* --- the data --- */

static void swap_bytes(uint8_t *data, size_t len, size_t size)
{
	for (uint8_t *p = data; size > 1 && p + size <= data + len; p += size)
		for (size_t i = 0; i < size / 2; i++) {
			uint8_t other = p[i];
			p[i] = p[size - 1 - i];
			p[size - 1 - i] = other;
		}
}

/* Copies an array whose first axis varies fastest into one whose last does. */
static void to_row_major(uint8_t *to, const uint8_t *from, const struct header *header, size_t size, int64_t count)
{
	int64_t index[TENSOR_RANK_MAX] = { 0 }, stride[TENSOR_RANK_MAX] = { 0 }, offset = 0;
	int64_t step = 1;
	for (uint32_t i = 0; i < header->rank; i++) {
		stride[i] = step;
		step *= header->shape[i];
	}
	for (int64_t n = 0; n < count; n++) {
		memcpy(to + (size_t)n * size, from + (size_t)offset * size, size);
		for (uint32_t axis = header->rank; axis-- > 0;) {
			offset += stride[axis];
			if (++index[axis] < header->shape[axis])
				break;
			offset -= stride[axis] * header->shape[axis];
			index[axis] = 0;
		}
	}
}

static size_t utf8_of(uint32_t point, char *to)
{
	if (point < 0x80) {
		to[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		to[0] = (char)(0xc0 | point >> 6);
		to[1] = (char)(0x80 | (point & 63));
		return 2;
	}
	if (point < 0x10000) {
		to[0] = (char)(0xe0 | point >> 12);
		to[1] = (char)(0x80 | (point >> 6 & 63));
		to[2] = (char)(0x80 | (point & 63));
		return 3;
	}
	to[0] = (char)(0xf0 | point >> 18);
	to[1] = (char)(0x80 | (point >> 12 & 63));
	to[2] = (char)(0x80 | (point >> 6 & 63));
	to[3] = (char)(0x80 | (point & 63));
	return 4;
}

/* One fixed-width element, without the NULs that fill it up, behind its length. Returns the bytes written; 0: not text.
 */
static size_t put_string(uint8_t *to, const uint8_t *from, size_t width, bool wide)
{
	while (width > 0 && from[width - 1] == 0)
		width--;
	uint32_t len = 0;
	if (!wide) {
		memcpy(to + 4, from, width);
		len = (uint32_t)width;
	}
	for (size_t i = 0; wide && i < width; i += 4) {
		uint32_t point;
		memcpy(&point, from + i, 4);
		if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
			return 0;
		len += (uint32_t)utf8_of(point, (char *)to + 4 + len);
	}
	memcpy(to, &len, 4);
	return 4 + len;
}

static enum err_code parse_strings(const uint8_t *data, size_t width, int64_t count, bool wide, const char *what,
				   struct arena *arena, struct tensor *tensor, struct err *err)
{
	size_t room;
	uint8_t *to = NULL;
	if (!__builtin_mul_overflow((size_t)count, width + 4, &room))
		to = arena_try(arena, room + 4);
	if (!to)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s: too large for this machine's memory", what);
	tensor->dtype = DTYPE_BYTES;
	tensor->data = to;
	for (int64_t i = 0; i < count; i++) {
		size_t wrote = put_string(to, data + (size_t)i * width, width, wide);
		if (wrote == 0)
			return err_set(err, ERR_INVALID_ARGUMENT, "%s: element %lld is not valid text", what,
				       (long long)i);
		to += wrote;
	}
	tensor->len = (size_t)(to - tensor->data);
	return ERR_OK;
}

static enum err_code refuse(const struct header *header, const char *what, struct err *err)
{
	const char *why = "a type that no servable takes";
	switch (header->kind[0]) {
	case 'O':
		why = "Python objects, which cannot be read without running code";
		break;
	case 'V':
		why = "records";
		break;
	case 'c':
		why = "complex numbers";
		break;
	case 'M':
	case 'm':
		why = "dates or times";
		break;
	}
	err_set(err, ERR_INVALID_ARGUMENT, "%s holds %s (numpy dtype '%s')", what, why, header->kind);
	err_advise(err, "save it as numbers, for example np.save(FILE, a.astype('float32'))");
	return ERR_INVALID_ARGUMENT;
}

/* Size of one element and its dtype; BYTES for strings. false: a type that is not read. */
static bool element_of(const struct header *header, enum dtype *ret_dtype, size_t *ret_size)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].descr, header->kind) == 0) {
			*ret_dtype = kinds[i].dtype;
			*ret_size = dtype_size(kinds[i].dtype);
			return true;
		}
	int64_t width;
	if ((header->kind[0] != 'S' && header->kind[0] != 'U') || !str_parse_i64(header->kind + 1, 0, 1 << 28, &width))
		return false;
	*ret_dtype = DTYPE_BYTES;
	*ret_size = (size_t)width * (header->kind[0] == 'U' ? 4 : 1);
	return true;
}

static enum err_code find_header(const uint8_t *data, size_t len, const char *what, struct header *header,
				 size_t *ret_start, struct err *err)
{
	if (!npy_is(data, len) || data[6] < 1 || data[6] > 3)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is not a numpy file (.npy, version 1 to 3)", what);
	size_t prefix = data[6] == 1 ? 10 : 12, header_len = 0;
	if (len >= prefix)
		header_len = data[6] == 1 ? (size_t)(data[8] | data[9] << 8) :
					    ((size_t)data[8] | (size_t)data[9] << 8 | (size_t)data[10] << 16 |
					     (size_t)data[11] << 24);
	if (len < prefix || header_len > len - prefix)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is cut short: it ends within its header", what);
	if (!parse_header((const char *)data + prefix, header_len, header)) {
		/* A list of fields instead of one type is the usual reason. */
		if (header->has_descr && !header->kind[0])
			header->kind[0] = 'V';
		if (header->kind[0] == 'V')
			return refuse(header, what, err);
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: its header is damaged", what);
	}
	*ret_start = prefix + header_len;
	return ERR_OK;
}

static enum err_code place_data(uint8_t *data, const struct header *header, size_t size, int64_t count,
				const char *what, struct arena *arena, struct tensor *tensor, struct err *err)
{
	bool transpose = header->fortran && header->rank > 1;
	bool aligned = ((uintptr_t)data & 7) == 0;
	bool swap = header->order == '>' && size > 1;
	tensor->data = data;
	tensor->len = (size_t)count * size;
	if (transpose || swap || !aligned) {
		uint8_t *copy = arena_try(arena, tensor->len + 1);
		if (!copy)
			return err_set(err, ERR_RESOURCE_EXHAUSTED, "%s: too large for this machine's memory", what);
		if (transpose)
			to_row_major(copy, data, header, size, count);
		else
			memcpy(copy, data, tensor->len);
		if (swap)
			swap_bytes(copy, tensor->len, tensor->dtype == DTYPE_BYTES ? 4 : size);
		tensor->data = copy;
	}
	return ERR_OK;
}

enum err_code npy_parse(uint8_t *data, size_t len, const char *what, struct arena *arena, struct tensor *ret,
			struct err *err)
{
	struct header header = { 0 };
	struct tensor tensor = { 0 };
	size_t start = 0, size = 0, bytes = 0;
	int64_t count = 0;
	enum err_code code = find_header(data, len, what, &header, &start, err);
	if (code != ERR_OK)
		return code;
	enum dtype dtype;
	if (!element_of(&header, &dtype, &size))
		return refuse(&header, what, err);
	tensor.rank = header.rank;
	tensor.dtype = DTYPE_UINT8; /* for the count alone */
	memcpy(tensor.shape, header.shape, sizeof(tensor.shape));
	if (tensor_element_count(&tensor, &count, NULL) != ERR_OK ||
	    __builtin_mul_overflow((size_t)count, size, &bytes))
		return err_set(err, ERR_INVALID_ARGUMENT, "%s: its shape is larger than any file", what);
	if (bytes > len - start)
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is cut short: its shape needs %zu bytes, %zu are there",
			       what, bytes, len - start);
	tensor.dtype = dtype;
	code = place_data(data + start, &header, size, count, what, arena, &tensor, err);
	if (code == ERR_OK && dtype == DTYPE_BYTES && count == 0)
		tensor.len = 0;
	else if (code == ERR_OK && dtype == DTYPE_BYTES)
		code = parse_strings(tensor.data, size, count, header.kind[0] == 'U', what, arena, &tensor, err);
	if (code == ERR_OK)
		*ret = tensor;
	return code;
}

/* --- writing --- */

static bool put_head(struct buf *out, const char *descr, const struct tensor *tensor)
{
	struct buf dict;
	buf_init(&dict, 4096);
	buf_printf(&dict, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
	for (uint32_t i = 0; i < tensor->rank; i++)
		buf_printf(&dict, tensor->rank == 1 ? "%lld," : i ? ", %lld" : "%lld", (long long)tensor->shape[i]);
	buf_puts(&dict, "), }");
	while ((10 + dict.len + 1) % 64 != 0)
		buf_putc(&dict, ' ');
	buf_putc(&dict, '\n');
	const char prefix[] = { '\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, (char)(dict.len & 255), (char)(dict.len >> 8) };
	bool ok = buf_append(out, prefix, sizeof(prefix)) && buf_append(out, dict.data, dict.len);
	buf_done(&dict);
	return ok;
}

/* The code point at the start of valid UTF-8. */
static uint32_t point_of(const uint8_t *text, size_t len)
{
	static const uint8_t mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t point = text[0] & mask[len];
	for (size_t i = 1; i < len; i++)
		point = point << 6 | (text[i] & 63);
	return point;
}

struct widths {
	size_t bytes, points;
	bool text; /* all of it is UTF-8 */
};

static struct widths measure(const struct tensor *tensor)
{
	struct widths widths = { .text = true };
	uint32_t len;
	for (size_t at = 0; at + 4 <= tensor->len; at += 4 + len) {
		memcpy(&len, tensor->data + at, 4);
		const char *text = (const char *)tensor->data + at + 4;
		widths.text = widths.text && str_is_utf8(text, len);
		size_t points = 0;
		for (size_t i = 0; i < len; i++)
			points += ((uint8_t)text[i] & 0xc0) != 0x80;
		widths.bytes = MAX(widths.bytes, len);
		widths.points = MAX(widths.points, points);
	}
	return widths;
}

static bool put_strings(struct buf *out, const struct tensor *tensor, const struct widths *widths)
{
	size_t room = widths->text ? MAX(widths->points, 1u) * 4 : MAX(widths->bytes, 1u);
	uint32_t len;
	for (size_t at = 0; at + 4 <= tensor->len; at += 4 + len) {
		memcpy(&len, tensor->data + at, 4);
		const uint8_t *text = tensor->data + at + 4;
		char *to = buf_reserve(out, room);
		if (!to)
			return false;
		memset(to, 0, room);
		if (!widths->text)
			memcpy(to, text, len);
		for (size_t i = 0, step; widths->text && i < len; i += step, to += 4) {
			step = str_utf8_len((const char *)text + i, len - i);
			uint32_t point = point_of(text + i, step);
			memcpy(to, &point, 4);
		}
		buf_advance(out, room);
	}
	return true;
}

bool npy_write_head(struct buf *out, const struct tensor *tensor)
{
	char descr[8];
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].dtype != tensor->dtype)
			continue;
		snprintf(descr, sizeof(descr), "%c%s", dtype_size(tensor->dtype) > 1 ? '<' : '|', kinds[i].descr);
		return put_head(out, descr, tensor);
	}
	return false;
}

enum err_code npy_write(struct buf *out, const struct tensor *tensor, struct err *err)
{
	enum err_code code = tensor_check(tensor, err);
	if (code != ERR_OK)
		return code;
	bool ok = true;
	if (tensor->dtype == DTYPE_BYTES) {
		struct widths widths = measure(tensor);
		char descr[24];
		snprintf(descr, sizeof(descr), widths.text ? "<U%zu" : "|S%zu",
			 MAX(widths.text ? widths.points : widths.bytes, 1u));
		ok = put_head(out, descr, tensor) && put_strings(out, tensor, &widths);
	} else if (tensor->dtype == DTYPE_BF16) {
		ok = put_head(out, "<f4", tensor);
		for (size_t i = 0; ok && i + 2 <= tensor->len; i += 2) /* a float32 is a bfloat16 with 16 more bits */
			ok = buf_append(out, "\0\0", 2) && buf_append(out, tensor->data + i, 2);
	} else if (dtype_size(tensor->dtype) == 0) {
		return err_set(err, ERR_INVALID_ARGUMENT, "%s is not an array and cannot be a .npy file",
			       dtype_name(tensor->dtype));
	} else {
		ok = npy_write_head(out, tensor) && buf_append(out, tensor->data, tensor->len);
	}
	return ok ? ERR_OK :
		    err_set(err, ERR_OUT_OF_RANGE, "the array is larger than the %zu bytes that are written",
			    out->ceiling);
}
