/* worker/native_affinity.h - which processors OpenVINO's TBB sees, and that it moves no thread to others.
 *
 * TBB reads the process' processors once and makes as many threads as there are. Where libtbbbind lies beside it, as in
 * OpenVINO's whole wheel (not in what tools/fetch_openvino.py keeps of it), it binds whoever calls it to that set at every
 * inference: the set of the time and place where it was read, before a fork, or before the operator moved the hub. The
 * kernel and the operator place workers, so the program's own sched_getaffinity(2) and sched_setaffinity(2) stand before the
 * C library's (meson.build exports them): the first can be told to name one processor alone, the second does nothing. */
#pragma once

#include <stdbool.h>

/* From now on there is one processor, and TBB, first asked for work in that time, makes no thread; or all there are. */
void native_affinity_tell_one(bool one);
