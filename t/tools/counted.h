/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For ./configure --enable-coverage alone, before everything else in each
 * source. gcc counts in memory and writes the counts when a process exits; the
 * refresher and the children that look things up for the preflight end by
 * _exit, which would lose theirs.
 */

#ifndef STAPLE_COUNTED_H
#define STAPLE_COUNTED_H

#include <unistd.h>

void __gcov_dump(void);

#define _exit(status) (__gcov_dump(), _exit(status))

#endif /* STAPLE_COUNTED_H */
