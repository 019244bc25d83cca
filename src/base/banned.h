/* base/banned.h - functions that are easy to misuse are compile errors; each has its replacement.
 * The idea is git's banned.h. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef __cplusplus
#pragma GCC poison strcpy  /* str_copy() in base/str.h */
#pragma GCC poison strcat  /* struct buf in base/buf.h */
#pragma GCC poison strncpy /* str_copy() */
#pragma GCC poison strncat
#pragma GCC poison sprintf  /* snprintf, or buf_printf() */
#pragma GCC poison vsprintf /* vsnprintf */
#pragma GCC poison strtok   /* strchr, or struct str helpers */
#pragma GCC poison gmtime   /* clock_format_rfc3339() */
#pragma GCC poison localtime
#pragma GCC poison ctime
#pragma GCC poison asctime
#pragma GCC poison atoi /* str_parse_i64() */
#pragma GCC poison atol
#pragma GCC poison atoll
#pragma GCC poison tmpnam
#pragma GCC poison mktemp
#pragma GCC poison gets
#endif
