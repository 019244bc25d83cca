#include "hub/metrics.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Resident bytes: the second number of /proc/self/statm, in pages. */
static double resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long long size = 0, resident = 0;
	int n = file ? fscanf(file, "%lld %lld", &size, &resident) : 0;
	if (file)
		fclose(file);
	return n == 2 ? (double)(resident * sysconf(_SC_PAGESIZE)) : 0;
}

static double open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	double count = 0;
	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count > 3 ? count - 3 : 0; /* ".", ".." and its own */
}

static void put(struct buf *out, const char *name, enum metric_type type, const char *help, double value)
{
	metric_family(out, name, type, help);
	metric_sample(out, name, NULL, NULL, value);
}

void hub_metrics_collect(void *context, struct buf *out)
{
	struct hub_metrics *metrics = context;
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	put(out, "process_cpu_seconds_total", METRIC_COUNTER, "Processor time of the hub, without its workers", cpu_s);
	put(out, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory of the hub, without its workers", resident_bytes());
	put(out, "process_open_fds", METRIC_GAUGE, "Open descriptors", open_descriptors());
	put(out, "process_start_time_seconds", METRIC_GAUGE, "When the hub started", (double)metrics->started_wall_ms / 1e3);
	put(out, "dlhub_loop_longest_turn_seconds", METRIC_GAUGE, "Longest turn of the serving loop since these were last asked",
	    (double)loop_lag_ns(metrics->loop) / 1e9);
	put(out, "dlhub_workers", METRIC_GAUGE, "Worker processes", (double)scheduler_worker_count(metrics->scheduler));
	put(out, "dlhub_publishes_active", METRIC_GAUGE, "Publishes that are being built",
	    (double)publisher_active(metrics->publisher));
}
