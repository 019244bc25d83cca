#include "wire/number.h"

#include <charconv>
#include <cstring>
#include <limits>

namespace {

/* from_chars also reads "inf" and "nan": a number begins with a digit, or '-' and a digit. */
bool begins_number(const char *text, const char *end)
{
	if (text < end && *text == '-')
		text++;
	return text < end && *text >= '0' && *text <= '9';
}

/* from_chars says "out of range" both ways. Whether the magnitude of the number at `text` is under 1: then it
 * was an underflow. Counts where its first significant digit stands; exponents saturate. */
bool is_small(const char *text, const char *end)
{
	long long place = 0; /* digits before the point, from the first significant one; or minus zeros behind it */
	bool significant = false, fraction = false;
	for (; text < end; text++) {
		if (*text == '.') {
			fraction = true;
		} else if (*text >= '0' && *text <= '9') {
			significant = significant || *text != '0';
			if (!fraction && significant)
				place++;
			else if (fraction && !significant)
				place--;
		} else {
			break;
		}
	}
	if (text < end && (*text == 'e' || *text == 'E')) {
		long long exponent = 0;
		bool negative = ++text < end && *text == '-';
		if (text < end && (*text == '-' || *text == '+'))
			text++;
		for (; text < end && *text >= '0' && *text <= '9'; text++)
			if (exponent < std::numeric_limits<long long>::max() / 100)
				exponent = exponent * 10 + (*text - '0');
		place += negative ? -exponent : exponent;
	}
	return place <= 0;
}

template <typename real> const char *read_real(const char *text, const char *end, real *ret)
{
	if (!begins_number(text, end))
		return nullptr;
	real value;
	auto [at, error] = std::from_chars(text, end, value);
	if (error == std::errc::result_out_of_range) {
		bool negative = *text == '-';
		if (!is_small(text + negative, at))
			return nullptr;
		value = negative ? -real(0) : real(0);
	} else if (error != std::errc()) {
		return nullptr;
	}
	*ret = value;
	return at;
}

template <typename integer> const char *read_integer(const char *text, const char *end, integer *ret)
{
	integer value;
	auto [at, error] = std::from_chars(text, end, value);
	if (error != std::errc())
		return nullptr;
	*ret = value;
	return at;
}

template <typename number> size_t write(char *to, number value)
{
	return static_cast<size_t>(std::to_chars(to, to + NUMBER_TEXT_MAX, value).ptr - to);
}

template <typename real> size_t write_real(char *to, real value)
{
	size_t len = write(to, value);
	if (!std::memchr(to, '.', len) && !std::memchr(to, 'e', len)) {
		to[len++] = '.';
		to[len++] = '0';
	}
	return len;
}

} // namespace

extern "C" {

const char *number_read_f32(const char *text, const char *end, float *ret)
{
	return read_real(text, end, ret);
}

const char *number_read_f64(const char *text, const char *end, double *ret)
{
	return read_real(text, end, ret);
}

const char *number_read_i64(const char *text, const char *end, int64_t *ret)
{
	return read_integer(text, end, ret);
}

const char *number_read_u64(const char *text, const char *end, uint64_t *ret)
{
	return read_integer(text, end, ret);
}

size_t number_write_f32(char *to, float value)
{
	return write_real(to, value);
}

size_t number_write_f64(char *to, double value)
{
	return write_real(to, value);
}

size_t number_write_i64(char *to, int64_t value)
{
	return write(to, value);
}

size_t number_write_u64(char *to, uint64_t value)
{
	return write(to, value);
}
}
