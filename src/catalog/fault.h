/* catalog/fault.h - for tests: makes SQLite's n-th allocation, or the n-th write or sync of its files, fail. */
#pragma once

#include <stdbool.h>

enum fault_kind { FAULT_MEMORY, FAULT_DISK_FULL, FAULT_SYNC };

/* Once, before SQLite is used at all. */
void fault_install(void);
/* The n-th (from 1) from now on fails; 0: none does. */
void fault_arm(enum fault_kind kind, long nth);
/* How many of that kind there were since it was armed, up to the one that failed. */
long fault_count(void);
/* Did it come to that since it was armed? */
bool fault_happened(void);
