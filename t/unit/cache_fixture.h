/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_CACHE_FIXTURE_H
#define STAPLE_T_CACHE_FIXTURE_H

/*
 * What the tests and the benchmark of the ring share: certificates that are
 * numbers, responses that say whose they are and which version, down to the
 * last byte, and the race of readers in several processes against a writer.
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "staple_cache.h"
#include "../../cache/layout.h"

typedef unsigned char cert_id_t[STAPLE_ID_LEN];

/* Room for any response, and what a copy of whole words may need beyond. */
#define DER_BUF (STAPLE_CACHE_DER_MAX + 8)

static inline apr_uint64_t next_random(apr_uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline unsigned int random_below(apr_uint64_t *state, unsigned int n)
{
    return (unsigned int)((next_random(state) >> 11) % n);
}

/* The id of certificate n; alike in the first bytes of many. */
static inline void make_id(cert_id_t id, unsigned int n)
{
    apr_uint64_t state = n * 0x9E3779B97F4A7C15u + 1;
    unsigned int i;

    for (i = 0; i < STAPLE_ID_LEN; i++) {
        id[i] = (unsigned char)next_random(&state);
    }
    memset(id, (int)(n / 16), 2);
}

static inline cert_id_t *make_ids(unsigned int count, apr_pool_t *p)
{
    cert_id_t *ids = apr_palloc(p, (count + 1) * sizeof(*ids));
    unsigned int i;

    for (i = 0; i < count; i++) {
        make_id(ids[i], i);
    }
    return ids;
}

/*
 * A response: 4 bytes of certificate and 4 of version, then a sequence that
 * follows from both and the length; of fewer than 8 bytes only the first.
 */
static inline void make_der(unsigned char *der, apr_size_t len,
                            apr_uint32_t cert, apr_uint32_t version)
{
    apr_uint64_t state = ((apr_uint64_t)cert << 32 | version)
                         * 0x9E3779B97F4A7C15u + len;
    apr_uint32_t who[2];
    apr_size_t at;

    who[0] = cert;
    who[1] = version;
    memcpy(der, who, len < sizeof(who) ? len : sizeof(who));
    for (at = sizeof(who); at < len; at += sizeof(state)) {
        apr_size_t left = len - at;

        next_random(&state);
        memcpy(der + at, &state, left < sizeof(state) ? left : sizeof(state));
    }
}

/* Whether these bytes are a whole response for cert; says which version. */
static inline int is_genuine(const unsigned char *der, apr_size_t len,
                             apr_uint32_t cert, apr_uint32_t *version)
{
    apr_uint32_t who[2] = { 0, 0 };
    apr_uint64_t state;
    apr_size_t at;

    if (len < sizeof(who)) {
        return 0;
    }
    memcpy(who, der, sizeof(who));
    *version = who[1];
    state = ((apr_uint64_t)cert << 32 | who[1]) * 0x9E3779B97F4A7C15u + len;
    for (at = sizeof(who); at < len; at += sizeof(state)) {
        apr_size_t left = len - at;

        next_random(&state);
        if (memcmp(der + at, &state,
                   left < sizeof(state) ? left : sizeof(state))) {
            return 0;
        }
    }
    return who[0] == cert;
}

static inline staple_cache_meta_t make_meta(apr_uint32_t version)
{
    staple_cache_meta_t meta;

    meta.this_update = 1000 + version;
    meta.next_update = 2000 + version;
    meta.fetched_at = 3000 + version;
    meta.status = version;
    meta.flags = ~version;
    return meta;
}

static inline int is_meta(const staple_cache_meta_t *meta, apr_uint32_t version)
{
    staple_cache_meta_t should = make_meta(version);

    return !memcmp(meta, &should, sizeof(should));
}

static inline apr_status_t store_der(staple_cache_t *cache, int slot,
                                     apr_size_t len, apr_uint32_t cert,
                                     apr_uint32_t version)
{
    unsigned char der[DER_BUF];
    staple_cache_meta_t meta = make_meta(version);

    make_der(der, len, cert, version);
    return staple_cache_store(cache, slot, der, len, &meta);
}

static inline staple_cache_conf_t make_conf(const char *path, apr_size_t size,
                                            int may_grow, cert_id_t *ids,
                                            unsigned int count,
                                            staple_cache_t *previous)
{
    staple_cache_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    conf.path = path;
    conf.size = size;
    conf.may_grow = may_grow;
    conf.ids = (const unsigned char (*)[STAPLE_ID_LEN])ids;
    conf.ids_count = count;
    conf.previous = previous ? staple_cache_kept(previous) : NULL;
    return conf;
}

/* Make a ring in a process that is parent and writer at once. */
static inline apr_status_t create_at(staple_cache_t **cache,
                                     const staple_cache_conf_t *conf,
                                     staple_cache_report_t *report,
                                     apr_uint64_t start, apr_pool_t *p)
{
    apr_status_t rv = staple_cache_create_at(cache, conf, report, start, p);

    return rv ? rv : staple_cache_begin_writing(*cache);
}

static inline apr_status_t create(staple_cache_t **cache,
                                  const staple_cache_conf_t *conf,
                                  staple_cache_report_t *report, apr_pool_t *p)
{
    return create_at(cache, conf, report, 0, p);
}

static inline void *shared_memory(apr_size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        abort();
    }
    return memory;
}

/* ---- Readers against a writer at full speed. ---- */

#define TORN_SLOTS 5
#define TORN_READERS_MAX 16

/* In memory that all processes share. */
typedef struct torn_t {
    _Atomic apr_uint32_t stored[TORN_SLOTS]; /* newest version for certain */
    _Atomic int stop;
    _Atomic int failed; /* stores */
    _Atomic apr_uint64_t stores;
    struct {
        apr_uint64_t reads;
        apr_uint64_t missed;  /* nothing found, though there always is */
        apr_uint64_t torn;    /* not the bytes of any version */
        apr_uint64_t foreign; /* times or status of another version */
        apr_uint64_t stale;   /* older than what was there before the read */
        apr_uint64_t unused[3];
    } reader[TORN_READERS_MAX];
} torn_t;

static inline apr_size_t torn_length(apr_uint32_t slot, apr_uint32_t version)
{
    return 100 + 331 * slot + version % 97;
}

static inline void torn_write(staple_cache_t *cache, torn_t *torn)
{
    apr_uint64_t state = 88172645463325252u;
    apr_uint32_t version[TORN_SLOTS];
    int slot;

    for (slot = 0; slot < TORN_SLOTS; slot++) {
        version[slot] = atomic_load(&torn->stored[slot]);
    }
    while (!atomic_load(&torn->stop)) {
        slot = (int)random_below(&state, TORN_SLOTS);
        version[slot]++;
        if (store_der(cache, slot,
                      torn_length((apr_uint32_t)slot, version[slot]),
                      (apr_uint32_t)slot, version[slot]) != APR_SUCCESS) {
            atomic_store(&torn->failed, 1);
        }
        atomic_store(&torn->stored[slot], version[slot]);
        atomic_fetch_add(&torn->stores, 1);
    }
}

static inline void torn_read(const staple_cache_t *cache, torn_t *torn,
                             int self, apr_uint64_t reads)
{
    apr_uint64_t state = (apr_uint64_t)self * 7919 + 104729;
    unsigned char der[DER_BUF];
    apr_uint64_t i;

    for (i = 0; i < reads && !atomic_load(&torn->stop); i++) {
        int slot = (int)random_below(&state, TORN_SLOTS);
        apr_uint32_t before = atomic_load(&torn->stored[slot]), version = 0;
        staple_cache_meta_t meta;
        apr_size_t len;

        torn->reader[self].reads++;
        if (staple_cache_read(cache, slot, der, STAPLE_CACHE_DER_MAX, &len,
                              &meta) != APR_SUCCESS) {
            torn->reader[self].missed++;
        }
        else if (!is_genuine(der, len, (apr_uint32_t)slot, &version)) {
            torn->reader[self].torn++;
        }
        else if (!is_meta(&meta, version)) {
            torn->reader[self].foreign++;
        }
        else if ((apr_int32_t)(version - before) < 0) {
            torn->reader[self].stale++;
        }
    }
}

static inline staple_cache_t *torn_create(cert_id_t *ids, apr_size_t size,
                                          staple_cache_t *previous,
                                          apr_uint64_t start, apr_pool_t *p)
{
    staple_cache_conf_t conf = make_conf(NULL, size, 1, ids, TORN_SLOTS,
                                         previous);
    staple_cache_report_t report;
    staple_cache_t *cache;

    if (create_at(&cache, &conf, &report, start, p)
        != APR_SUCCESS) {
        abort();
    }
    return cache;
}

/*
 * A ring so tight that the writer moves records all the time: what was stored
 * in the first says how small the second can be.
 */
static inline staple_cache_t *torn_ring(torn_t *torn, apr_uint64_t start,
                                        apr_pool_t *p)
{
    cert_id_t *ids = make_ids(TORN_SLOTS, p);
    staple_cache_t *first = torn_create(ids, 40000, NULL, start, p);
    staple_cache_t *second;
    int slot;

    for (slot = 0; slot < TORN_SLOTS; slot++) {
        store_der(first, slot, torn_length((apr_uint32_t)slot, 96),
                  (apr_uint32_t)slot, 96);
        atomic_store(&torn->stored[slot], 96);
    }
    second = torn_create(ids, STAPLE_CACHE_SIZE_MIN, first, start, p);
    staple_cache_unmap(first);
    return second;
}

/**
 * Run the race: `readers` processes, `reads` each, one writer.
 * @return true if all processes ended well; the figures are in torn
 */
static inline int torn_race(torn_t *torn, int readers, apr_uint64_t reads,
                            apr_uint64_t start, apr_pool_t *p)
{
    staple_cache_t *cache = torn_ring(torn, start, p);
    pid_t reader[TORN_READERS_MAX], writer;
    int i, status, well = 1;

    writer = fork();
    if (writer == 0) {
        torn_write(cache, torn);
        _exit(0);
    }
    for (i = 0; i < readers; i++) {
        reader[i] = fork();
        if (reader[i] == 0) {
            torn_read(cache, torn, i, reads);
            _exit(0);
        }
    }
    for (i = 0; i < readers; i++) {
        well &= waitpid(reader[i], &status, 0) == reader[i] && status == 0;
    }
    atomic_store(&torn->stop, 1);
    well &= waitpid(writer, &status, 0) == writer && status == 0;
    staple_cache_unmap(cache);
    return well && !atomic_load(&torn->failed);
}

#endif /* STAPLE_T_CACHE_FIXTURE_H */
