/* hub/backup.h - the whole data folder as one file, and back.
 *
 * A backup is a tar archive (0600: it holds the administrator's token): a snapshot of the catalog, taken first by SQLite's
 * backup interface, then blobs, versions, environments and logs, which only ever grow while a hub runs. It works
 * beside a running hub. A restore unpacks beside the data and checks it; the swap happens at the hub's next start,
 * which a running hub makes at once (SIGHUP). All block. */
#pragma once

#include "base/settings.h"

/* Writes `file`, which must not exist. ERR_RESOURCE_EXHAUSTED: disk full, nothing is left. */
must_check enum err_code backup_write(const struct settings *settings, const char *data, const char *file, struct err *err);
/* Unpacks and checks into DIR/restore. *ret_hub: process id of the hub that runs on DIR, told to take it over; 0: none. */
must_check enum err_code backup_stage(const struct settings *settings, const char *data, const char *file, int *ret_hub,
				      struct err *err);
/* At start, with the lock held: puts a staged restore in the place of what is there. *ret_done says whether there was one.
 * May be repeated after a crash at any point. */
must_check enum err_code backup_take_over(const char *data, bool *ret_done, struct err *err);
