#include "schedule/region.h"

#include "base/alloc.h"
#include "base/cache.h"
#include "base/hash.h"
#include "io/memory_file.h"

#include <sys/mman.h>

struct regions {
	struct cache *by_name; /* never evicts: the limits below are lower */
	int64_t most_bytes, bytes;
};

struct regions *regions_create(const struct settings *settings)
{
	struct regions *regions = NEW(struct regions);
	regions->by_name = cache_create((size_t)settings_int(settings, SETTING_LIMITS_LOCAL_CLIENTS) *
						(size_t)settings_int(settings, SETTING_LIMITS_LOCAL_REGIONS),
					NULL, NULL);
	regions->most_bytes = settings_int(settings, SETTING_LIMITS_LOCAL_BYTES);
	return regions;
}

void regions_destroy(struct regions *regions)
{
	if (!regions)
		return;
	cache_destroy(regions->by_name);
	free(regions);
}

void region_unref(void *context)
{
	struct region *region = context;
	if (!region || --region->refs)
		return;
	munmap(region->data, region->size);
	principal_unref(region->principal);
	free(region);
}

enum err_code regions_add(struct regions *regions, const struct principal *principal, uint64_t bytes, struct region **ret,
			  int *ret_fd, struct err *err)
{
	if (bytes == 0)
		return err_set(err, ERR_INVALID_ARGUMENT, "a region must have at least one byte");
	if (bytes > (uint64_t)(regions->most_bytes - regions->bytes))
		return err_set(err, ERR_RESOURCE_EXHAUSTED,
			       "a region of %llu bytes: local clients have %lld of the %lld bytes that all may have "
			       "(limits.local_bytes)",
			       (unsigned long long)bytes, (long long)regions->bytes, (long long)regions->most_bytes);
	struct region *region = NEW(struct region);
	enum err_code code = memory_file_create("region", bytes, ret_fd, &region->data, err);
	if (code != ERR_OK) {
		free(region);
		return code;
	}
	_cleanup_free_ char *hex = random_hex(16);
	snprintf(region->name, sizeof(region->name), "dlhub-%s", hex);
	region->refs = 1;
	region->size = bytes;
	region->principal = principal_ref(principal);
	regions->bytes += (int64_t)bytes;
	cache_put(regions->by_name, str_of(region->name), region);
	*ret = region;
	return ERR_OK;
}

void regions_remove(struct regions *regions, struct region *region)
{
	if (!region->removed) {
		region->removed = true;
		regions->bytes -= (int64_t)region->size;
		cache_remove(regions->by_name, str_of(region->name));
	}
	region_unref(region);
}

static bool is_theirs(const struct region *region, const struct principal *principal)
{
	const char *own = region->principal->user ?: "", *user = principal->user ?: "";
	return strcmp(own, user) == 0;
}

enum err_code regions_find(struct regions *regions, const struct principal *principal, struct str name, uint64_t offset,
			   uint64_t bytes, struct region **ret, struct err *err)
{
	struct region *region = regions ? cache_get(regions->by_name, name) : NULL;
	if (!region || !is_theirs(region, principal)) {
		err_set(err, ERR_NOT_FOUND, "there is no region '%.*s' of yours", (int)MIN(name.len, (size_t)80), name.data);
		err_advise(err, "ask the hub for one over its local socket; a region lives as long as that connection");
		return ERR_NOT_FOUND;
	}
	if (offset > region->size || bytes > region->size - offset)
		return err_set(err, ERR_INVALID_ARGUMENT, "region '%s' has %zu bytes, but %llu from %llu on were named",
			       region->name, region->size, (unsigned long long)bytes, (unsigned long long)offset);
	region->refs++;
	*ret = region;
	return ERR_OK;
}

size_t regions_count(const struct regions *regions)
{
	return cache_count(regions->by_name);
}

enum err_code region_write_outputs(const struct run *run, const struct tensor *outputs, struct err *err)
{
	for (size_t i = 0; i < run->request.output_count; i++) {
		const struct requested_output *wanted = &run->request.outputs[i];
		if (!wanted->part.data)
			continue;
		if (outputs[i].len > wanted->part.bytes)
			return err_set(err, ERR_OUT_OF_RANGE,
				       "output '" STR_FMT "' has %zu bytes, but its part of region '" STR_FMT "' has %llu",
				       STR_ARG(wanted->name), outputs[i].len, STR_ARG(wanted->part.region),
				       (unsigned long long)wanted->part.bytes);
		memcpy(wanted->part.data, outputs[i].data, outputs[i].len);
	}
	return ERR_OK;
}
