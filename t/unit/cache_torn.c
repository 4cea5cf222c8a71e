/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that no reader ever gets a torn, foreign or stale record: several
 * processes read as fast as they can while one stores as fast as it can into a
 * ring so tight that records are moved all the time. `t/bench/cache --torn`
 * does the same for as long as one likes.
 *
 * A read that finds nothing counts as a failure too: every slot always has a
 * record. Else the checksum could hide what the protocol must prevent.
 */

#include "tap.h"
#include "cache_fixture.h"

#define READERS 3
#define READS 400000

static void race(const char *what, apr_uint64_t start, apr_pool_t *p)
{
    torn_t *torn = shared_memory(sizeof(*torn));
    apr_uint64_t reads = 0;
    int i, missed = 0, bad[3] = { 0, 0, 0 };

    ok(torn_race(torn, READERS, READS, start, p),
       "%s: readers and writer ended well", what);
    for (i = 0; i < READERS; i++) {
        reads += torn->reader[i].reads;
        missed += (int)torn->reader[i].missed;
        bad[0] += (int)torn->reader[i].torn;
        bad[1] += (int)torn->reader[i].foreign;
        bad[2] += (int)torn->reader[i].stale;
    }
    diag("%lu reads, %lu stores", (unsigned long)reads,
         (unsigned long)atomic_load(&torn->stores));
    is_int((long long)reads, (long long)READERS * READS, "all reads were made");
    is_int(missed, 0, "none missed");
    is_int(bad[0], 0, "none torn");
    is_int(bad[1], 0, "none with the times of another");
    is_int(bad[2], 0, "none older than what was there before");
    munmap(torn, sizeof(*torn));
}

int main(void)
{
    apr_pool_t *p;

    apr_initialize();
    apr_pool_create(&p, NULL);
    race("from position 0", 0, p);
    race("across the end of the positions",
         (apr_uint64_t)0 - 1000 * STAPLE_CACHE_BLOCK, p);
    apr_pool_destroy(p);
    apr_terminate();
    return tap_done();
}
