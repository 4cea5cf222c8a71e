/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that the ring keeps what it is given: against a plain model over
 * random operations, sizes and first positions; from one generation to the
 * next, through memory and through the file; and that no file, whatever it is
 * and wherever it lies, harms the start or is harmed by it.
 */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tap.h"
#include "cache_fixture.h"
#include "clocks.h"
#include "../../cache/helper.h"
#include "../../cache/segment.h"
#include "../fuzz/cache.c"

static unsigned char buf[DER_BUF];

/* ---- The directive's argument. ---- */

static void test_spec(apr_pool_t *p)
{
    static const struct {
        const char *arg, *path;
        apr_size_t size; /* 0: an error */
    } cases[] = {
        { NULL, NULL, 524288 },
        { "", NULL, 524288 },
        { "logs/ring", "logs/ring", 524288 },
        { "/run/ring(8192)", "/run/ring", 8192 },
        { "/run/ring(32768)", "/run/ring", 32768 },
        { "/run/a(b)c(67108863)", "/run/a(b)c", 67108863 },
        { "(9000)", NULL, 9000 },
        { "/run/ring(8191)", NULL, 0 },
        { "/run/ring(134217728)", "/run/ring", 134217728 },
        { "/run/ring(99999999999999999999)", NULL, 0 },
        { "/run/ring(-1)", NULL, 0 },
        { "/run/ring()", NULL, 0 },
        { "/run/ring(8k)", NULL, 0 },
        { "/run/ring(8192", NULL, 0 },
        { "/run/ring(8192)x", NULL, 0 },
        { "/run/ring8192)", NULL, 0 },
    };
    unsigned int i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        staple_cache_spec_t spec;
        const char *error = staple_cache_parse_spec(&spec, cases[i].arg, p);
        int same = !cases[i].size == !!error;

        if (same && !error) {
            same = spec.size == cases[i].size
                   && (cases[i].path ? spec.path
                                       && !strcmp(spec.path, cases[i].path)
                                     : !spec.path);
        }
        ok(same, "argument \"%s\"", cases[i].arg ? cases[i].arg : "(none)");
    }
}

/* ---- Store and read. ---- */

static staple_cache_t *make_ring(staple_cache_conf_t conf,
                                 staple_cache_report_t *report, apr_pool_t *p)
{
    staple_cache_t *cache = NULL;

    if (create(&cache, &conf, report, p) != APR_SUCCESS) {
        abort();
    }
    return cache;
}

/* The version that a slot holds; 0: none; -1: not whole. */
static int version_of(const staple_cache_t *cache, int slot, unsigned int cert,
                      int pending)
{
    staple_cache_meta_t meta;
    apr_uint32_t version;
    apr_size_t len;
    apr_status_t rv = pending
        ? staple_cache_read_pending(cache, slot, buf, STAPLE_CACHE_DER_MAX,
                                    &len, &meta)
        : staple_cache_read(cache, slot, buf, STAPLE_CACHE_DER_MAX, &len,
                            &meta);

    if (rv == APR_NOTFOUND) {
        return 0;
    }
    return rv == APR_SUCCESS && is_genuine(buf, len, cert, &version)
           && is_meta(&meta, version) ? (int)version : -1;
}

static void test_basics(apr_pool_t *p)
{
    static const apr_size_t lengths[] = { 1, 7, 8, 63, 64, 65, 2048, 10240,
                                          STAPLE_CACHE_DER_MAX };
    cert_id_t *ids = make_ids(40, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(NULL, 524288, 0, ids, 30, NULL),
                                      &report, p);
    staple_cache_meta_t meta = make_meta(1), got;
    unsigned char *der = apr_palloc(p, DER_BUF);
    apr_size_t len;
    unsigned int i, found = 0;

    for (i = 0; i < 30; i++) {
        found += staple_cache_find(cache, ids[i]) == (int)i ? 1 : 0;
    }
    is_int(found, 30, "every id is found");
    is_int(staple_cache_find(cache, ids[30]), -1, "another is not");
    is_int(staple_cache_read(cache, 3, buf, 10, &len, NULL), APR_NOTFOUND,
           "an empty slot has nothing");
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        apr_size_t n = lengths[i];

        make_der(der, n, 3, i);
        ok(staple_cache_store(cache, 3, der, n, &meta) == APR_SUCCESS
           && staple_cache_read(cache, 3, buf, n, &len, &got) == APR_SUCCESS
           && len == n && !memcmp(der, buf, n)
           && !memcmp(&meta, &got, sizeof(meta)), "%d bytes come back", (int)n);
        ok(staple_cache_read(cache, 3, buf, n - 1, &len, NULL) == APR_ENOSPC
           && len == n, "a buffer one byte short is refused");
    }
    is_int(staple_cache_store(cache, 3, der, 0, &meta), APR_EINVAL,
           "no bytes are refused");
    is_int(staple_cache_store(cache, 3, der, STAPLE_CACHE_DER_MAX + 1, &meta),
           APR_EINVAL, "too many bytes are refused");
    ok(staple_cache_store(cache, 30, der, 1, &meta) == APR_EINVAL
       && staple_cache_store(cache, -1, der, 1, &meta) == APR_EINVAL
       && staple_cache_read(cache, 30, buf, 9, &len, NULL) == APR_NOTFOUND
       && staple_cache_read(cache, -1, buf, 9, &len, NULL) == APR_NOTFOUND,
       "slots that do not exist are refused");
    ok(staple_cache_forget(cache, 3) == APR_SUCCESS
       && staple_cache_read(cache, 3, buf, 9, &len, NULL) == APR_NOTFOUND,
       "what was forgotten is gone");
    staple_cache_unmap(cache);
}

/* The reader writes at most the bytes it says it does. */
static void test_no_overrun(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(1, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(NULL, 8192, 0, ids, 1, NULL),
                                      &report, p);
    apr_size_t page = (apr_size_t)sysconf(_SC_PAGESIZE);
    unsigned char *pages = shared_memory(2 * page), *end = pages + page;
    apr_size_t n, len, whole = 0;

    mprotect(end, page, PROT_NONE);
    for (n = 8; n <= 200; n++) {
        apr_uint32_t version;

        store_der(cache, 0, n, 0, (apr_uint32_t)n);
        whole += staple_cache_read(cache, 0, end - n, n, &len, NULL)
                 == APR_SUCCESS && is_genuine(end - n, len, 0, &version);
    }
    is_int((long long)whole, 193, "not a byte beyond the buffer");
    munmap(pages, 2 * page);
    staple_cache_unmap(cache);
}

/* ---- The model. ---- */

#define MODEL_CERTS 12

typedef struct model_t {
    int version[MODEL_CERTS]; /* 0: none */
    apr_size_t len[MODEL_CERTS];
    unsigned int state[MODEL_CERTS];
    int next_version;
} model_t;

static apr_uint64_t model_bytes(const model_t *model, int slot)
{
    return model->version[slot] ? staple_cache_record_bytes(model->len[slot])
                                : 0;
}

static apr_uint64_t model_longest(const model_t *model, int besides)
{
    apr_uint64_t longest = 0;
    int i;

    for (i = 0; i < MODEL_CERTS; i++) {
        if (i != besides && model_bytes(model, i) > longest) {
            longest = model_bytes(model, i);
        }
    }
    return longest;
}

/* Whether the ring owes it to its contract to take a record: there is room for
 * it beside the old one, and then for moving any that lives. */
static int model_fits(const model_t *model, apr_uint64_t data_size, int slot,
                      apr_size_t len)
{
    apr_uint64_t bytes = staple_cache_record_bytes(len), live = 0;
    apr_uint64_t longest = model_longest(model, slot);
    int i;

    longest = longest > bytes ? longest : bytes;
    for (i = 0; i < MODEL_CERTS; i++) {
        live += model_bytes(model, i);
    }
    return live + bytes <= data_size
           && live - model_bytes(model, slot) + bytes + longest <= data_size;
}

static int model_agrees(const model_t *model, const staple_cache_t *cache)
{
    const staple_cache_header_t *header;
    apr_uint64_t used;
    apr_size_t length;
    void *base;
    int i;

    staple_cache_mapping(cache, &base, &length);
    header = base;
    used = atomic_load(&((staple_cache_header_t *)base)->head)
           - atomic_load(&((staple_cache_header_t *)base)->tail);
    if (used > header->data_size
        || header->data_size - used < model_longest(model, -1)) {
        return 0;
    }
    for (i = 0; i < (int)staple_cache_count(cache); i++) {
        staple_cache_state_t state;

        staple_cache_state(cache, i, &state);
        if (version_of(cache, i, (unsigned int)i, 0) != model->version[i]
            || state.attempts != model->state[i]) {
            return 0;
        }
    }
    return 1;
}

/* One random operation on both; false: they answer differently. */
static int model_step(model_t *model, staple_cache_t *cache,
                      apr_uint64_t *random, apr_size_t longest,
                      apr_uint64_t data_size)
{
    int slot = (int)random_below(random,
                                 (unsigned int)staple_cache_count(cache));
    apr_size_t len = 8 + random_below(random, (unsigned int)longest);
    staple_cache_state_t state;
    int should, got;

    switch (random_below(random, 10)) {
    case 0:
        model->version[slot] = 0;
        return staple_cache_forget(cache, slot) == APR_SUCCESS;
    case 1:
        memset(&state, 0, sizeof(state));
        state.attempts = ++model->state[slot];
        return staple_cache_set_state(cache, slot, &state) == APR_SUCCESS;
    default:
        should = model_fits(model, data_size, slot, len);
        got = store_der(cache, slot, len, (apr_uint32_t)slot,
                        (apr_uint32_t)++model->next_version);
        if (got == APR_SUCCESS) {
            model->version[slot] = model->next_version;
            model->len[slot] = len;
        }
        return should ? got == APR_SUCCESS : got == APR_ENOSPC;
    }
}

static void test_model(apr_pool_t *p)
{
    static const apr_uint64_t starts[] = {
        0, ((apr_uint64_t)1 << 32) - 128, ((apr_uint64_t)1 << 63) - 6400,
        (apr_uint64_t)0 - 64, (apr_uint64_t)0 - 64 * 1000,
    };
    static const apr_size_t sizes[] = { 8192, 8255, 9000, 16384, 65536 };
    static const apr_size_t longest[] = { 1, 100, 900, 3000, 7000 };
    apr_uint64_t random = 42;
    unsigned int i, j, k;

    for (i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        int differs = 0, disagrees = 0, steps = 0;
        staple_cache_usage_t usage;
        apr_uint64_t moved = 0, refused = 0;

        for (j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            for (k = 0; k < sizeof(longest) / sizeof(longest[0]); k++) {
                unsigned int count = 1 + random_below(&random, MODEL_CERTS);
                staple_cache_conf_t conf = make_conf(NULL, sizes[j], 0,
                                                     make_ids(count, p), count,
                                                     NULL);
                staple_cache_report_t report;
                staple_cache_t *cache;
                model_t model;
                int step;

                memset(&model, 0, sizeof(model));
                create_at(&cache, &conf, &report, starts[i], p);
                staple_cache_usage(cache, &usage);
                for (step = 0; step < 400 && staple_cache_count(cache);
                     step++) {
                    differs += !model_step(&model, cache, &random, longest[k],
                                           usage.data_size);
                    disagrees += !model_agrees(&model, cache);
                    steps++;
                }
                staple_cache_usage(cache, &usage);
                moved += usage.moved;
                refused += usage.refused;
                staple_cache_unmap(cache);
            }
        }
        ok(!differs && !disagrees,
           "as the model, from position %" APR_UINT64_T_FMT, starts[i]);
        diag("%d operations, %d moves, %d refusals", steps, (int)moved,
             (int)refused);
    }
}

/* ---- Stray writes. ---- */

/* Any byte of a segment may change: then a response is missing or as it was, or
 * one of the same certificate that was there before and still lies in the log;
 * and the next writer can go on. */
static void test_stray_writes(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(3, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(NULL, 8192, 0, ids, 2, NULL),
                                      &report, p);
    int wrong = 0, stuck = 0, lost = 0, i;
    unsigned char *copy;
    apr_size_t length, at;
    void *base;

    for (i = 1; i < 9; i++) {
        store_der(cache, i % 2, 400, (apr_uint32_t)i % 2, (apr_uint32_t)i);
    }
    staple_cache_mapping(cache, &base, &length);
    copy = shared_memory(length);
    for (at = 2 * STAPLE_CACHE_BLOCK; at < length; at++) {
        staple_cache_t *stray;

        memcpy(copy, base, length);
        staple_cache_attach(&stray, copy, length, p);
        copy[at] ^= (unsigned char)(1 << (at % 8));
        for (i = 0; i < 2; i++) {
            int version = version_of(stray, i, (unsigned int)i, 0);

            wrong += version && (version > 8 - i || version % 2 != i);
            lost += !version;
        }
        for (i = 0; i < 12; i++) {
            stuck += store_der(stray, i % 2, 2000, (apr_uint32_t)i % 2, 99)
                     != APR_SUCCESS;
        }
        for (i = 0; i < 2; i++) {
            wrong += version_of(stray, i, (unsigned int)i, 0) != 99
                     /* an id in which a bit changed is another's */
                     && memcmp(staple_cache_id(stray, i), ids[i],
                               STAPLE_ID_LEN) == 0;
        }
    }
    is_int(wrong, 0, "a stray write never gives a wrong response");
    is_int(stuck, 0, "and never stops the next writer");
    ok(lost > 800 && lost < 1200, "but costs the response it hits");
    munmap(copy, length);
    staple_cache_unmap(cache);
}

/* A writer that was killed after it published, before it dropped the pending
 * one: the pending record is dead, and its mark goes before its bytes do. */
static void test_left_pending(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(NULL, 8192, 0, ids, 2, NULL),
                                      &report, p);
    staple_cache_slot_t *slot;
    apr_uint64_t pending;
    apr_size_t length;
    void *base;
    int i;

    staple_cache_mapping(cache, &base, &length);
    slot = (staple_cache_slot_t *)((staple_cache_header_t *)base + 1);
    store_der(cache, 1, 800, 1, 1);
    store_der(cache, 0, 800, 0, 1);
    pending = atomic_load(&slot->served);
    atomic_store(&slot->served, 0);
    atomic_store(&slot->pending, pending);
    is_int(version_of(cache, 0, 0, 1), 1, "a pending one");
    store_der(cache, 0, 800, 0, 2);
    atomic_store(&slot->pending, pending);
    ok(version_of(cache, 0, 0, 1) == 0 && staple_cache_pending(cache) == 0
       && version_of(cache, 0, 0, 0) == 2, "means nothing beside a served one");
    for (i = 0; i < 20; i++) {
        store_der(cache, 1, 800, 1, 2);
    }
    ok(atomic_load(&slot->pending) == 0 && version_of(cache, 0, 0, 0) == 2,
       "and is gone when its bytes are");
    staple_cache_unmap(cache);
}

/* ---- Generations. ---- */

static staple_cache_state_t a_state(unsigned int n)
{
    staple_cache_state_t state;

    memset(&state, 0, sizeof(state));
    state.attempts = n;
    memset(state.peer, (int)n, sizeof(state.peer));
    return state;
}

static void fill_ring(staple_cache_t *cache, unsigned int count,
                      apr_size_t len)
{
    unsigned int i;

    for (i = 0; i < count; i++) {
        staple_cache_state_t state = a_state(i + 1);

        store_der(cache, (int)i, len, i, i + 1);
        staple_cache_set_state(cache, (int)i, &state);
    }
}

/* What the writer has, the file has. */
static void copy_ring(staple_cache_t *cache, apr_pool_t *p)
{
    if (staple_cache_copy_round(cache, 1, p) != APR_SUCCESS) {
        abort();
    }
}

static void test_from_memory(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(12, p), *other = make_ids(12, p);
    staple_cache_report_t report;
    staple_cache_t *old = make_ring(make_conf(NULL, 65536, 0, ids, 10, NULL),
                                    &report, p);
    staple_cache_usage_t before, after;
    staple_cache_served_t served = { 3, 1 };
    staple_cache_state_t state;
    staple_cache_t *cache;
    int i, right = 0;

    fill_ring(old, 10, 1500);
    staple_cache_count_served(old, 3, &served);
    /* 9 8 7 11 10 3 4 5: four gone, two new, another order. */
    memcpy(other[0], ids[9], sizeof(*ids));
    memcpy(other[1], ids[8], sizeof(*ids));
    memcpy(other[2], ids[7], sizeof(*ids));
    memcpy(other[3], ids[11], sizeof(*ids));
    memcpy(other[4], ids[10], sizeof(*ids));
    memcpy(other[5], ids[3], sizeof(*ids));
    memcpy(other[6], ids[4], sizeof(*ids));
    memcpy(other[7], ids[5], sizeof(*ids));
    cache = make_ring(make_conf(NULL, 65536, 0, other, 8, old), &report, p);
    is_int(report.seed, STAPLE_CACHE_SEED_MEMORY, "seeded from memory");
    is_int((long long)report.seeded, 6, "with what is still wanted");
    is_int((long long)report.dropped, 4, "without the rest");
    for (i = 0; i < 3; i++) {
        right += version_of(cache, i, (unsigned int)(9 - i), 0) == 10 - i;
        right += version_of(cache, 5 + i, (unsigned int)(3 + i), 0) == 4 + i;
    }
    is_int(right, 6, "each in its new slot, served at once");
    is_int(version_of(cache, 3, 11, 0), 0, "a new one has nothing");
    staple_cache_state(cache, 5, &state);
    ok(state.attempts == 4 && state.peer[0] == 4 && state.peer[15] == 4,
       "states came along");
    staple_cache_served(cache, 5, &served);
    ok(served.served == 3 && served.missed == 1, "and what was counted");
    staple_cache_usage(old, &before);
    staple_cache_usage(cache, &after);
    ok(before.generation == 1 && after.generation == 2,
       "generations are counted");
    is_int(version_of(old, 0, 0, 0), 1, "the old generation can still be read");
    staple_cache_unmap(old);
    staple_cache_unmap(cache);
}

static void test_counts_and_requests(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(3, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(NULL, 16384, 0, ids, 3, NULL),
                                      &report, p);
    const staple_cache_served_t more = { 2, 1 }, none = { 0, 0 };
    staple_cache_served_t sum;
    int slot = -1, i;

    staple_cache_count_served(cache, 1, &more);
    staple_cache_count_served(cache, 1, &none);
    staple_cache_count_served(cache, 1, &more);
    staple_cache_served(cache, 1, &sum);
    ok(sum.served == 4 && sum.missed == 2, "counts add up");
    staple_cache_served(cache, 0, &sum);
    ok(sum.served == 0 && sum.missed == 0, "for their own slot");
    staple_cache_count_served(cache, 3, &more);
    staple_cache_served(cache, -1, &sum);
    ok(sum.served == 0, "a slot that is none counts nothing");

    is_int(staple_cache_take_request(cache, 1, &slot), 0, "nothing is asked");
    is_int(staple_cache_request(cache, 3, STAPLE_CACHE_REFRESH), APR_EINVAL,
           "nor of no slot");
    staple_cache_request(cache, 2, STAPLE_CACHE_REFRESH);
    staple_cache_request(cache, 0, STAPLE_CACHE_FORGET);
    is_int(staple_cache_take_request(cache, 0, &slot), 0,
           "who hears only the file's owner hears nothing");
    ok(staple_cache_take_request(cache, 1, &slot) == STAPLE_CACHE_REFRESH
       && slot == 2, "a request is taken");
    ok(staple_cache_take_request(cache, 1, &slot) == STAPLE_CACHE_FORGET
       && slot == 0, "and another one, of the first slot");
    is_int(staple_cache_take_request(cache, 1, &slot), 0, "each once");
    for (i = 0; i < STAPLE_CACHE_REQUESTS; i++) {
        staple_cache_request(cache, i % 3, STAPLE_CACHE_REFRESH);
    }
    is_int(staple_cache_request(cache, 1, STAPLE_CACHE_REFRESH), APR_EAGAIN,
           "when too many wait, one more is refused");
    staple_cache_unmap(cache);
}

/* What a ring of one certificate calls it. */
static const char *name_of(const staple_cache_t *cache, int slot)
{
    staple_cache_about_t about;

    staple_cache_about(cache, slot, &about);
    return about.name;
}

static const char *name_in_ring(const char *name, apr_pool_t *p)
{
    staple_cache_about_t about = { NULL, 0, 0 };
    cert_id_t *ids = make_ids(1, p);
    staple_cache_conf_t conf = make_conf(NULL, 8192, 0, ids, 1, NULL);
    staple_cache_report_t report;
    staple_cache_t *cache;
    const char *found;

    about.name = name;
    conf.about = &about;
    create(&cache, &conf, &report, p);
    found = apr_pstrdup(p, name_of(cache, 0));
    staple_cache_unmap(cache);
    return found;
}

static void test_names(apr_pool_t *p)
{
    static const char longest[] =
        "a123456789b123456789c123456789d123456789e1.test";
    cert_id_t *ids = make_ids(2, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(NULL, 8192, 0, ids, 2, NULL),
                                      &report, p);
    staple_cache_slot_t *slot;
    apr_size_t length;
    void *base;

    is_str(name_in_ring("www.test:8443", p), "www.test:8443", "a name");
    is_str(name_in_ring("", p), "", "an empty one");
    is_int((long long)strlen(longest), STAPLE_CACHE_NAME_LEN - 1,
           "the longest that fits");
    is_str(name_in_ring(longest, p), longest, "... is kept");
    is_str(name_in_ring(apr_pstrcat(p, "x", longest, NULL), p),
           apr_pstrcat(p, STAPLE_CACHE_NAME_CUT, longest + 2, NULL),
           "of a longer one the end is");
    is_int((long long)strlen(name_in_ring(apr_pstrcat(p, longest, longest,
                                                      longest, NULL), p)),
           STAPLE_CACHE_NAME_LEN - 1, "... however long it was");
    is_str(name_of(cache, 1), "", "a ring without names");
    is_str(name_of(cache, 2), "", "a slot that there is not");
    is_str(name_of(cache, -1), "", "nor that");
    staple_cache_mapping(cache, &base, &length);
    slot = (staple_cache_slot_t *)((char *)base
                                   + sizeof(staple_cache_header_t));
    memset(slot->label.name, 'x', sizeof(slot->label.name));
    is_str(name_of(cache, 0), "", "a name that does not end is none");
    staple_cache_unmap(cache);
}

static void test_share_counts(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(1, p);
    staple_cache_report_t report;
    staple_cache_t *old = make_ring(make_conf(NULL, 8192, 0, ids, 1, NULL),
                                    &report, p);
    staple_cache_share_t more = { 1, 2, 3, 4, 5, 6, 7, 1000000, APR_TIMEUP, 1,
                                  2000000 };
    staple_cache_share_t sum;
    staple_cache_t *cache;

    staple_cache_share(old, &sum);
    ok(!sum.hits && !sum.errors && !sum.since && !sum.last_error,
       "nobody has used a share");
    staple_cache_count_share(old, &more);
    more.last_error = 0;
    more.last_status = 0;
    staple_cache_count_share(old, &more);
    staple_cache_share(old, &sum);
    ok(sum.hits == 2 && sum.misses == 4 && sum.foreign == 6 && sum.stored == 8
       && sum.dropped == 10 && sum.unanswered == 12 && sum.errors == 14,
       "a share's counts add up");
    ok(sum.last_error == 1000000 && sum.last_status == APR_TIMEUP,
       "an error is the last one until there is another");
    ok(sum.is_silent && sum.since == 2000000, "it is silent, since then");
    cache = make_ring(make_conf(NULL, 8192, 0, ids, 1, old), &report, p);
    staple_cache_share(cache, &sum);
    ok(sum.hits == 2 && sum.errors == 14 && sum.last_error == 1000000,
       "the next generation goes on counting");
    ok(!sum.is_silent && !sum.since, "and has not seen yet how it fares");
    staple_cache_unmap(old);
    staple_cache_unmap(cache);
}

static void test_mapping(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(NULL, 8192, 0, ids, 2, NULL),
                                      &report, p);
    staple_cache_t *again;
    apr_size_t length;
    void *base;

    store_der(cache, 1, 100, 1, 7);
    staple_cache_mapping(cache, &base, &length);
    ok(staple_cache_attach(&again, base, length, p) == APR_SUCCESS
       && version_of(again, 1, 1, 0) == 7, "a mapping is a ring again");
    is_int(staple_cache_attach(&again, base, length - 64, p), APR_EINVAL,
           "but not with another length");
    is_int(staple_cache_attach(&again, (char *)base + 64, length - 64, p),
           APR_EINVAL, "nor from another address");
    staple_cache_unmap(cache);
}

static void test_growth(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(100, p);
    staple_cache_report_t report;
    staple_cache_t *cache, *next;
    staple_cache_usage_t usage;
    apr_uint64_t record = staple_cache_record_bytes(STAPLE_CACHE_TYPICAL);
    apr_uint64_t budget;
    unsigned int i, fit, stored = 0;

    cache = make_ring(make_conf(NULL, 32768, 1, ids, 100, NULL), &report, p);
    ok(report.size_wanted == staple_cache_need(100, 100 * record, record)
       && report.size_granted == report.size_wanted && report.left_out == 0,
       "a ring too small grows to what is needed");
    for (i = 0; i < 100; i++) {
        stored += store_der(cache, (int)i, STAPLE_CACHE_TYPICAL, i, 1)
                  == APR_SUCCESS;
    }
    for (i = 0; i < 100; i++) {
        stored += store_der(cache, (int)(i * 37 % 100), STAPLE_CACHE_TYPICAL,
                            i * 37 % 100, 2) == APR_SUCCESS;
    }
    is_int(stored, 200, "and that is enough, for the second round too");
    next = make_ring(make_conf(NULL, report.size_wanted, 0, ids, 100, cache),
                     &report, p);
    ok(report.size_granted == report.size_wanted && report.left_out == 0,
       "the size that was named needs no growth");
    staple_cache_unmap(next);
    staple_cache_unmap(cache);

    cache = make_ring(make_conf(NULL, 32768, 0, ids, 100, NULL), &report, p);
    fit = (unsigned int)staple_cache_count(cache);
    ok(report.size_granted == 32768 && report.left_out == 100 - fit
       && staple_cache_need(fit, fit * record, record) <= 32768
       && staple_cache_need(fit + 1, (fit + 1) * record, record) > 32768,
       "where it may not grow, as many as fit have slots");
    diag("%u have", fit);
    is_int(staple_cache_find(cache, ids[50]), -1, "the others have none");
    is_int(store_der(cache, 0, 20000, 0, 1), APR_ENOSPC,
           "what does not fit is refused");
    staple_cache_usage(cache, &usage);
    is_int((long long)usage.refused, 1, "and counted");
    next = make_ring(make_conf(NULL, 32768, 1, ids, 1, cache), &report, p);
    ok(report.size_granted > 32768
       && store_der(next, 0, 20000, 0, 1) == APR_SUCCESS
       && store_der(next, 0, 20000, 0, 2) == APR_SUCCESS,
       "the next generation has room for it");
    staple_cache_unmap(next);
    staple_cache_unmap(cache);

    /* 1.2 times the bytes of the responses and 280 for each certificate, plus
     * the longest record, for all responses but those of toys: the shortest
     * of real CAs (RSA 2048, by key, no certificate in it) have 471. */
    for (i = 460; i <= 8000; i++) {
        record = staple_cache_record_bytes(i);
        budget = (apr_uint64_t)100 * i * 12 / 10 + 100 * 280 + record
                 + sizeof(staple_cache_header_t);
        if (staple_cache_need(100, 100 * record, record) > budget) {
            diag("%u bytes: needs %lu, may have %lu", i,
                 (unsigned long)staple_cache_need(100, 100 * record, record),
                 (unsigned long)budget);
            break;
        }
    }
    ok(i > 8000, "needs no more memory than was promised");
}

/* ---- The file. ---- */

static const char *scratch; /* a directory of our own */

static const char *in_scratch(const char *name, apr_pool_t *p)
{
    return apr_pstrcat(p, scratch, "/", name, NULL);
}

/* Names in a directory, but for "." and "..". */
static int count_in(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int count = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

static int count_files(void)
{
    return count_in(scratch);
}

static void empty_scratch(apr_pool_t *p)
{
    DIR *dir = opendir(scratch);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            const char *path = in_scratch(entry->d_name, p);

            if (unlink(path) < 0) {
                rmdir(path);
            }
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static void test_from_file(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(6, p);
    const char *path = in_scratch("ring", p);
    staple_cache_report_t report;
    staple_cache_t *cache, *seen;
    staple_cache_usage_t usage;
    const char *reason;
    struct stat st;

    cache = make_ring(make_conf(path, 65536, 0, ids, 5, NULL), &report, p);
    ok(report.seed == STAPLE_CACHE_SEED_NONE && !report.new_file
       && !report.old_file, "a file is made");
    ok(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600
       && st.st_size == 65536 && count_files() == 1,
       "of mode 0600 and all its size, and nothing is left beside it");
    ok(st.st_blocks * 512 >= st.st_size, "its blocks are reserved");
    fill_ring(cache, 5, 1500);
    copy_ring(cache, p);
    ok(staple_cache_open_file(&seen, path, &reason, p) == APR_SUCCESS
       && version_of(seen, 4, 4, 0) == 5, "what is stored is in the file");
    staple_cache_unmap(seen);
    staple_cache_unmap(cache);

    cache = make_ring(make_conf(path, 65536, 0, ids + 1, 5, NULL), &report, p);
    ok(report.seed == STAPLE_CACHE_SEED_FILE && report.seeded == 4
       && report.dropped == 1 && !report.old_file && !report.new_file,
       "after a stop, the next start takes them over");
    is_int((long long)staple_cache_pending(cache), 4, "pending, all of them");
    is_int(version_of(cache, 0, 1, 0), 0, "not served unconfirmed");
    is_int(version_of(cache, 0, 1, 1), 2, "but there to be verified");
    staple_cache_confirm(cache, 0, 1);
    staple_cache_confirm(cache, 1, 0);
    store_der(cache, 2, 900, 3, 77);
    ok(version_of(cache, 0, 1, 0) == 2 && version_of(cache, 0, 1, 1) == 0,
       "a confirmed one is served");
    ok(version_of(cache, 1, 2, 0) == 0 && version_of(cache, 1, 2, 1) == 0,
       "a refused one is gone");
    staple_cache_confirm(cache, 2, 1);
    ok(version_of(cache, 2, 3, 0) == 77 && version_of(cache, 2, 3, 1) == 0,
       "a newer one stays, whatever is said of the pending one");
    is_int((long long)staple_cache_pending(cache), 1, "one is still pending");
    seen = make_ring(make_conf(path, 65536, 0, ids + 1, 5, cache), &report, p);
    ok(version_of(seen, 3, 4, 1) == 5 && version_of(seen, 3, 4, 0) == 0,
       "it stays pending through a graceful restart");
    staple_cache_usage(seen, &usage);
    is_int((long long)usage.generation, 3, "generations are counted");
    is_int(version_of(cache, 0, 1, 0), 2, "old children keep their memory");
    is_int(count_files(), 1, "one file, as ever");
    staple_cache_unmap(cache);
    staple_cache_unmap(seen);
    empty_scratch(p);
}

static void spoil_nothing(const char *path)
{
    unlink(path);
}

static void spoil_symlink(const char *path)
{
    char target[300];

    apr_snprintf(target, sizeof(target), "%s-target", path);
    rename(path, target);
    if (symlink(target, path)) {
        abort();
    }
}

static void spoil_dangling(const char *path)
{
    unlink(path);
    if (symlink("/nonexistent/ring", path)) {
        abort();
    }
}

static void spoil_hard_link(const char *path)
{
    char target[300];

    apr_snprintf(target, sizeof(target), "%s-target", path);
    if (link(path, target)) {
        abort();
    }
}

static void spoil_owner(const char *path)
{
    if (chown(path, 65534, 65534)) {
        abort();
    }
}

static void spoil_directory(const char *path)
{
    unlink(path);
    mkdir(path, 0700);
}

static void spoil_fifo(const char *path)
{
    unlink(path);
    mkfifo(path, 0600);
}

static void spoil_truncate(const char *path)
{
    if (truncate(path, 8191)) {
        abort();
    }
}

static void spoil_stump(const char *path)
{
    if (truncate(path, 100)) {
        abort();
    }
}

static void spoil_append(const char *path)
{
    if (truncate(path, 8256)) {
        abort();
    }
}

static void spoil_empty(const char *path)
{
    if (truncate(path, 0)) {
        abort();
    }
}

static void spoil_blank(const char *path)
{
    if (truncate(path, 0) || truncate(path, 8192)) {
        abort();
    }
}

static void spoil_mode(const char *path)
{
    chmod(path, 0666);
}

static void poke(const char *path, off_t at, unsigned char byte)
{
    int fd = open(path, O_WRONLY);

    if (pwrite(fd, &byte, 1, at) != 1) {
        abort();
    }
    close(fd);
}

static void spoil_version(const char *path)
{
    poke(path, offsetof(staple_cache_header_t, version), 200);
}

static void spoil_text(const char *path)
{
    unlink(path);
    if (!write_file(path, (const unsigned char *)"root:x:0:0:\n", 12)) {
        abort();
    }
}

/*
 * What may lie at the path, and what becomes of it: whether the ring has a
 * file in the end, and a word of the reason.
 */
static const struct {
    const char *name;
    void (*spoil)(const char *path);
    int is_root_only;
    int has_file;    /* else anonymous memory, and the file is as it was */
    int is_aside;    /* whether it lies at path.bad now */
    const char *why; /* NULL: there is none */
} spoils[] = {
    { "nothing", spoil_nothing, 0, 1, 0, NULL },
    { "a symbolic link", spoil_symlink, 0, 0, 0, "symbolic link" },
    { "a dangling link", spoil_dangling, 0, 0, 0, "symbolic link" },
    { "a hard link", spoil_hard_link, 0, 0, 0, "more than one name" },
    { "another user's file", spoil_owner, 1, 0, 0, "another user" },
    { "a directory", spoil_directory, 0, 0, 0, "directory" },
    { "a FIFO", spoil_fifo, 0, 0, 0, "not a regular file" },
    { "a truncated ring", spoil_truncate, 0, 1, 1, "truncated" },
    { "the stump of a ring", spoil_stump, 0, 1, 1, "truncated" },
    { "a ring with an appendix", spoil_append, 0, 1, 1, "longer" },
    { "an empty file", spoil_empty, 0, 1, 1, "empty" },
    { "a blank file", spoil_blank, 0, 1, 1, "empty" },
    { "a file that all may write", spoil_mode, 0, 1, 1, "written by others" },
    { "a ring of another version", spoil_version, 0, 1, 1, "another version" },
    { "some text", spoil_text, 0, 0, 0, "not a ring" },
};

static int is_working(staple_cache_t *cache)
{
    return store_der(cache, 0, 500, 0, 9) == APR_SUCCESS
           && version_of(cache, 0, 0, 0) == 9;
}

static void test_spoilt_files(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    const char *path = in_scratch("ring", p);
    unsigned int i;

    for (i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
        staple_cache_report_t report;
        staple_cache_t *cache;
        struct stat before, after;
        int there, same, files, why;

        if (spoils[i].is_root_only && geteuid() != 0) {
            ok(1, "%s # SKIP only root can make one", spoils[i].name);
            continue;
        }
        cache = make_ring(make_conf(path, 8192, 0, ids, 2, NULL), &report, p);
        fill_ring(cache, 2, 500);
        copy_ring(cache, p);
        staple_cache_unmap(cache);
        spoils[i].spoil(path);
        there = lstat(path, &before) == 0;
        files = count_files();
        cache = make_ring(make_conf(path, 8192, 0, ids, 2, NULL), &report, p);
        why = spoils[i].why ? report.old_file
                              && strstr(report.old_file, spoils[i].why)
                            : !report.old_file;
        ok(why && report.seeded == 0, "%s is not used, and why is said",
           spoils[i].name);
        diag("at its path: %s; no file: %s",
             report.old_file ? report.old_file : "-",
             report.new_file ? report.new_file : "-");
        same = there && lstat(path, &after) == 0
               && before.st_ino == after.st_ino;
        ok(spoils[i].has_file ? !report.new_file && !same
                              : report.new_file && same,
           spoils[i].has_file ? "a new file is made" : "it is left alone");
        is_int(count_files(), files + (!there || spoils[i].is_aside),
               "no file is left over");
        ok(!spoils[i].is_aside
           || (lstat(apr_pstrcat(p, path, ".bad", NULL), &after) == 0
               && after.st_ino == before.st_ino), "the old one is kept");
        ok(is_working(cache), "and the ring works");
        staple_cache_unmap(cache);
        empty_scratch(p);
    }
}

/* Every bit flip: in what never changes it is found out, elsewhere it may cost
 * a response, never bring a wrong one. */
static void test_flipped_file(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    const char *path = in_scratch("ring", p);
    unsigned char *good = apr_palloc(p, 8192), *bad = apr_palloc(p, 8192);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 8192, 0, ids, 2, NULL),
                                      &report, p);
    apr_pool_t *ptemp;
    apr_size_t at;
    int fixed = 0, wrong = 0, seeded = 0, i, fd;

    apr_pool_create(&ptemp, p);
    fill_ring(cache, 2, 500);
    copy_ring(cache, p);
    staple_cache_unmap(cache);
    fd = open(path, O_RDONLY);
    if (read(fd, good, 8192) != 8192) {
        abort();
    }
    close(fd);
    unlink(path);
    for (at = 0; at < 2500; at++) {
        memcpy(bad, good, 8192);
        bad[at] ^= (unsigned char)(1 << (at % 8));
        write_file(path, bad, 8192);
        cache = make_ring(make_conf(path, 8192, 0, ids, 2, NULL), &report,
                          ptemp);
        fixed += at < 2 * STAPLE_CACHE_BLOCK && report.old_file
                 && report.seeded == 0 && is_working(cache);
        if (at >= 2 * STAPLE_CACHE_BLOCK) {
            seeded += (int)report.seeded;
            for (i = 0; i < 2; i++) {
                int version = version_of(cache, i, (unsigned int)i, 1);

                wrong += version != 0 && version != i + 1;
            }
        }
        staple_cache_unmap(cache);
        unlink(path);
        apr_pool_clear(ptemp);
    }
    is_int(fixed, 2 * STAPLE_CACHE_BLOCK,
           "a flipped bit in the fixed header is found out");
    is_int(wrong, 0, "elsewhere none brings a wrong response");
    diag("%d of %d responses were still usable", seeded,
         2 * (2500 - 2 * STAPLE_CACHE_BLOCK));
    apr_pool_destroy(ptemp);
    empty_scratch(p);
}

/* On NFS, Linux gives no exclusive lock to a descriptor that only reads. */
static int is_nfs;

#ifdef __linux__
int flock(int fd, int operation)
{
    if (is_nfs && operation & LOCK_EX
        && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        errno = EBADF;
        return -1;
    }
    return (int)syscall(SYS_flock, fd, operation);
}
#endif

static void test_left_overs(apr_pool_t *p)
{
    static const char *const stale = "ring.new.0123456789abcdef";
    static const char *const locked = "ring.new.fedcba9876543210";
    static const char *const others[] = {
        "ring.new.0123456789abcde", "ring.new.0123456789abcdefg",
        "ring.new.0123456789abcdeX", "ring2.new.0123456789abcdef",
        "string.new.0123456789abcdef",
    };
    cert_id_t *ids = make_ids(1, p);
    staple_cache_report_t report;
    staple_cache_t *cache;
    unsigned int i, kept = 0;
    int fd;

    write_file(in_scratch(stale, p), (const unsigned char *)"x", 1);
    write_file(in_scratch(locked, p), (const unsigned char *)"x", 1);
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        write_file(in_scratch(others[i], p), (const unsigned char *)"x", 1);
    }
    fd = open(in_scratch(locked, p), O_RDWR);
    flock(fd, LOCK_EX);
    is_nfs = 1;
    cache = make_ring(make_conf(in_scratch("ring", p), 8192, 0, ids, 1, NULL),
                      &report, p);
    ok(access(in_scratch(stale, p), F_OK) < 0,
       "what a start that was killed left is removed");
    ok(access(in_scratch(locked, p), F_OK) == 0,
       "but not what a start is making at this moment");
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        kept += access(in_scratch(others[i], p), F_OK) == 0;
    }
    is_int(kept, sizeof(others) / sizeof(others[0]),
           "nor what only looks similar");
    close(fd);
    is_nfs = 0;
    staple_cache_unmap(cache);
    empty_scratch(p);
}

/* A start with a path at which no file can be made. */
static void no_file(const char *what, const char *path, apr_size_t size,
                    apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, size, 0, ids, 2, NULL),
                                      &report, p);

    ok(report.new_file != NULL && is_working(cache),
       "%s: anonymous memory, and why is said", what);
    diag("%s", report.new_file ? report.new_file : "-");
    staple_cache_unmap(cache);
}

static void test_bad_places(apr_pool_t *p)
{
    const char *dir = in_scratch("disk", p);
    pid_t child;
    int status;

    no_file("a missing directory", in_scratch("missing/ring", p), 8192, p);
    no_file("a file for a directory", "/dev/null/ring", 8192, p);
    no_file("a device", "/dev/null", 8192, p);

    mkdir(dir, 0700);
    if (geteuid() != 0 || mount("none", dir, "tmpfs", 0, "size=64k") < 0) {
        ok(1, "a full disk # SKIP cannot mount a small one");
        ok(1, "a read-only disk # SKIP cannot mount one");
    }
    else {
        no_file("a full disk", apr_pstrcat(p, dir, "/ring", NULL), 1000000, p);
        is_int(count_in(dir), 0, "and nothing is left of the attempt");
        mount("none", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL);
        no_file("a read-only disk", apr_pstrcat(p, dir, "/ring", NULL), 8192,
                p);
        umount(dir);
    }

    child = fork();
    if (child == 0) {
        struct rlimit limit = { 4096, 4096 };
        cert_id_t *ids = make_ids(2, p);
        staple_cache_report_t report;
        staple_cache_t *cache;

        setrlimit(RLIMIT_FSIZE, &limit);
        cache = make_ring(make_conf(in_scratch("ring", p), 8192, 0, ids, 2,
                                    NULL),
                          &report, p);
        _exit(!(report.new_file && is_working(cache)));
    }
    waitpid(child, &status, 0);
    is_int(status, 0, "a limit on the size of files: no signal, no file");

    child = fork();
    if (child == 0) {
        cert_id_t *ids = make_ids(2, p);
        staple_cache_report_t report;
        staple_cache_t *cache;

        chmod(scratch, 0555);
        if (geteuid() == 0 && setuid(65534)) {
            _exit(1);
        }
        cache = make_ring(make_conf(in_scratch("ring", p), 8192, 0, ids, 2,
                                    NULL),
                          &report, p);
        _exit(!(report.new_file && is_working(cache)));
    }
    waitpid(child, &status, 0);
    chmod(scratch, 0700);
    is_int(status, 0, "a directory that may not be written: no file");
    empty_scratch(p);
}

/* ---- One writer. ---- */

/* In a process of its own; its exit status. */
static int write_in_child(staple_cache_t *cache, apr_uint32_t version)
{
    pid_t writer = fork();
    int status = -1;

    if (writer == 0) {
        _exit(staple_cache_begin_writing(cache)
              || store_der(cache, 0, 800, 0, version));
    }
    waitpid(writer, &status, 0);
    return status;
}

static void test_one_writer(apr_pool_t *p)
{
    const staple_cache_served_t more = { 1, 0 };
    cert_id_t *ids = make_ids(2, p);
    staple_cache_conf_t conf = make_conf(NULL, 16384, 0, ids, 2, NULL);
    staple_cache_report_t report;
    staple_cache_served_t sum;
    staple_cache_t *cache;
    pid_t child;
    int status;

    staple_cache_create(&cache, &conf, &report, p);
    is_int(write_in_child(cache, 1), 0, "a process becomes the writer");
    is_int(write_in_child(cache, 2), 0, "another one follows it");
    is_int(version_of(cache, 0, 0, 0), 2, "the parent reads what it wrote");
    child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        staple_cache_only_read(staple_cache_kept(cache));
        staple_cache_forget(cache, 0);
        _exit(0);
    }
    waitpid(child, &status, 0);
    /* a sanitizer makes an exit with a status of that signal */
    ok(status != 0, "who only reads cannot write");
    child = fork();
    if (child == 0) {
        staple_cache_only_read(staple_cache_kept(cache));
        staple_cache_count_served(cache, 0, &more);
        _exit(staple_cache_request(cache, 1, STAPLE_CACHE_FORGET));
    }
    waitpid(child, &status, 0);
    staple_cache_served(cache, 0, &sum);
    ok(status == 0 && sum.served == 1, "but it counts");
    ok(staple_cache_take_request(cache, 1, &status) == STAPLE_CACHE_FORGET
       && status == 1, "and asks");
    staple_cache_unmap(cache);
}

/* ---- The copy. ---- */

/* The version that the file has of a slot, as a start would find it. */
static int version_in(const char *path, int slot, unsigned int cert,
                      apr_pool_t *p)
{
    staple_cache_t *seen;
    const char *reason;
    int version;

    if (staple_cache_open_file(&seen, path, &reason, p) != APR_SUCCESS) {
        return -2;
    }
    version = version_of(seen, slot, cert, 0);
    staple_cache_unmap(seen);
    return version;
}

/* Whether the file has just what the ring has. */
static int is_copied(const staple_cache_t *cache, const char *path,
                     apr_pool_t *p)
{
    staple_cache_t *seen;
    const char *reason;
    int i, same;

    if (staple_cache_open_file(&seen, path, &reason, p) != APR_SUCCESS) {
        return 0;
    }
    same = staple_cache_count(seen) == staple_cache_count(cache);
    for (i = 0; same && i < (int)staple_cache_count(cache); i++) {
        staple_cache_state_t a, b;

        staple_cache_state(cache, i, &a);
        staple_cache_state(seen, i, &b);
        same = version_of(seen, i, (unsigned int)i, 0)
               == version_of(cache, i, (unsigned int)i, 0)
               && !memcmp(&a, &b, sizeof(a))
               && staple_cache_find(seen, staple_cache_id(cache, i)) == i;
    }
    staple_cache_unmap(seen);
    return same;
}

static void test_copy(apr_pool_t *p)
{
    const staple_cache_served_t more = { 7, 5 };
    cert_id_t *ids = make_ids(5, p);
    const char *path = in_scratch("ring", p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 16384, 0, ids, 5, NULL),
                                      &report, p);
    staple_cache_served_t sum;
    apr_uint64_t random = 7;
    struct stat before, after;
    int i, copied = 0;

    store_der(cache, 1, 500, 1, 1);
    is_int(version_in(path, 1, 1, p), 0, "what is stored is in memory");
    copy_ring(cache, p);
    is_int(version_in(path, 1, 1, p), 1, "and, after a round, in the file");
    stat(path, &before);
    copy_ring(cache, p);
    stat(path, &after);
    ok(!memcmp(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim)),
       "where nothing has changed nothing is written");
    for (i = 0; i < 300; i++) {
        int slot = (int)random_below(&random, 5);
        staple_cache_state_t state = a_state((unsigned int)i);

        store_der(cache, slot, 8 + random_below(&random, 2500),
                  (apr_uint32_t)slot, (apr_uint32_t)i);
        staple_cache_set_state(cache, slot, &state);
        if (random_below(&random, 9) == 0) {
            staple_cache_forget(cache, slot);
        }
        if (i % 3 == 0) {
            copy_ring(cache, p);
            copied += is_copied(cache, path, p);
        }
    }
    is_int(copied, 100, "whatever happens, a round copies it");
    staple_cache_count_served(cache, 2, &more);
    copy_ring(cache, p);
    staple_cache_unmap(cache);
    cache = make_ring(make_conf(path, 16384, 0, ids, 5, NULL), &report, p);
    staple_cache_served(cache, 2, &sum);
    ok(sum.served == 7 && sum.missed == 5, "counts come back from the file");
    staple_cache_unmap(cache);
    empty_scratch(p);
}

/* Calls of this process that wrote something; -1: the kernel counts none. */
static long long writes_so_far(void)
{
    FILE *io = fopen("/proc/self/io", "r");
    long long writes = -1;
    char line[80];

    while (io && fgets(line, sizeof(line), io)) {
        if (sscanf(line, "syscw: %lld", &writes) == 1) {
            break;
        }
    }
    if (io) {
        fclose(io);
    }
    return writes;
}

/* 300 records of about 600 bytes are 180 KB, their slots 50 KB: in runs of 64
 * KB that is five writes, a further one for each half of a record that goes on
 * at the beginning, and the header's. */
static void test_copy_in_runs(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(300, p);
    const char *path = in_scratch("ring", p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 1 << 20, 0, ids, 300,
                                                NULL), &report, p);
    long long before, writes;
    int i;

    copy_ring(cache, p);
    for (i = 0; i < 300; i++) {
        store_der(cache, i, 500, (apr_uint32_t)i, 1);
    }
    before = writes_so_far();
    copy_ring(cache, p);
    writes = writes_so_far() - before;
    ok(is_copied(cache, path, p), "300 responses are copied in one round");
    if (before < 0) {
        ok(1, "# skip this kernel does not count writes");
    }
    else if (!ok(writes > 0 && writes <= 12, "what lies side by side is "
                                             "written at once")) {
        diag("%lld writes", writes);
    }
    staple_cache_unmap(cache);
    empty_scratch(p);
}

static void interfere_truncate(const char *path)
{
    if (truncate(path, 0)) {
        abort();
    }
}

static void interfere_shorten(const char *path)
{
    if (truncate(path, 5000)) {
        abort();
    }
}

static void interfere_lengthen(const char *path)
{
    if (truncate(path, 1000000)) {
        abort();
    }
}

static void interfere_overwrite(const char *path)
{
    static unsigned char garbage[30000];
    int fd = open(path, O_WRONLY);

    memset(garbage, 0x5A, sizeof(garbage));
    if (write(fd, garbage, sizeof(garbage)) != sizeof(garbage)) {
        abort();
    }
    close(fd);
}

static void interfere_text(const char *path)
{
    int fd = open(path, O_WRONLY | O_TRUNC);

    if (write(fd, "root:x:0:0:\n", 12) != 12) {
        abort();
    }
    close(fd);
}

static void interfere_byte(const char *path)
{
    poke(path, sizeof(staple_cache_header_t) + 16, 0xFF); /* of an id */
}

static void test_interference(apr_pool_t *p)
{
    static const struct {
        const char *name;
        void (*act)(const char *path);
    } cases[] = {
        { "cut to nothing", interfere_truncate },
        { "cut short", interfere_shorten },
        { "made longer", interfere_lengthen },
        { "overwritten", interfere_overwrite },
        { "replaced by some text in its place", interfere_text },
        { "changed in one byte", interfere_byte },
    };
    cert_id_t *ids = make_ids(5, p);
    const char *path = in_scratch("ring", p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 16384, 0, ids, 5, NULL),
                                      &report, p);
    unsigned int i;

    fill_ring(cache, 5, 1500);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        copy_ring(cache, p);
        cases[i].act(path);
        ok(!is_copied(cache, path, p), "a file that is %s", cases[i].name);
        is_int(version_of(cache, 3, 3, 0), 4, "is not what is served");
        copy_ring(cache, p);
        ok(is_copied(cache, path, p), "and is put right by the next round");
    }
    staple_cache_unmap(cache);
    empty_scratch(p);
}

/* What the thread that copies has said. */
typedef struct said_t {
    _Atomic int times;
    _Atomic int last;
} said_t;

static void hear(void *baton, apr_status_t rv)
{
    said_t *said = baton;

    atomic_store(&said->last, rv);
    atomic_fetch_add(&said->times, 1);
}

static int wait_for_said(said_t *said, int times)
{
    int i;

    for (i = 0; i < 3000 && atomic_load(&said->times) < times; i++) {
        usleep(10000);
    }
    return atomic_load(&said->times) == times;
}

/* In a child: a limit on the size of files that comes and goes. */
static int copy_under_limit(const char *path, apr_pool_t *p)
{
    cert_id_t *ids = make_ids(5, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 16384, 0, ids, 5, NULL),
                                      &report, p);
    struct rlimit limit = { 64, RLIM_INFINITY };
    said_t said = { 0, 0 };

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (staple_cache_begin_copying(cache, hear, &said, p)) {
        return 1;
    }
    fill_ring(cache, 5, 1500);
    if (!wait_for_said(&said, 1) || atomic_load(&said.last) != EFBIG) {
        return 2;
    }
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    if (!wait_for_said(&said, 2) || atomic_load(&said.last) != APR_SUCCESS) {
        return 3;
    }
    store_der(cache, 0, 700, 0, 77);
    if (!staple_cache_end_copying(cache, apr_time_from_sec(30))) {
        return 4;
    }
    return is_copied(cache, path, p) ? 0 : 5;
}

static unsigned char byte_at(const char *path, off_t at)
{
    unsigned char byte = 0;
    int fd = open(path, O_RDONLY);

    if (pread(fd, &byte, 1, at) != 1) {
        abort();
    }
    close(fd);
    return byte;
}

/* In a child: what a round could not write is replaced before the next one. In
 * the log lie 0, a dead 1, 2 and the new 1, so there are two runs. */
static int copy_after_failure(const char *path, apr_pool_t *p)
{
    cert_id_t *ids = make_ids(3, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 32768, 0, ids, 3, NULL),
                                      &report, p);
    struct rlimit limit = { cache->header->data_offset, RLIM_INFINITY };
    off_t at;

    signal(SIGXFSZ, SIG_IGN);
    fill_ring(cache, 3, 1500);
    store_der(cache, 1, 1500, 1, 9);
    at = (off_t)(cache->header->data_offset
                 + block_at(cache, marked(mark_take(&cache->slots[2].served)))
                   * STAPLE_CACHE_BLOCK);
    interfere_overwrite(path);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (staple_cache_copy_round(cache, 0, p) != EFBIG) {
        return 1;
    }
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    store_der(cache, 2, 1500, 2, 9);
    copy_ring(cache, p);
    if (!is_copied(cache, path, p)) {
        return 2;
    }
    return byte_at(path, at) == 0x5A ? 0 : 3;
}

/* When the thread has made its next round; by the clock that never jumps. */
static apr_time_t next_round_of(const staple_cache_t *cache)
{
    apr_uint64_t last = word_get(&cache->header->copy_round), now = last;
    int i;

    for (i = 0; i < 3000 && now == last; i++) {
        usleep(10000);
        now = word_get(&cache->header->copy_round);
    }
    return (apr_time_t)now;
}

/* In a child: what is stored after a quiet second. A busy machine may be late
 * each time but one. */
static int copy_soon(const char *path, apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 16384, 0, ids, 2, NULL),
                                      &report, p);
    said_t said = { 0, 0 };
    unsigned int i;

    if (staple_cache_begin_copying(cache, hear, &said, p)) {
        return 1;
    }
    for (i = 0; i < 10; i++) {
        apr_time_t quiet, next;

        (void)next_round_of(cache);
        quiet = next_round_of(cache);
        store_der(cache, 0, 700, 0, i + 1);
        next = next_round_of(cache);
        if (next - quiet < apr_time_from_msec(900)) {
            return is_copied(cache, path, p) ? 0 : 2;
        }
    }
    return 3;
}

/* In a child: the clock is set back by two hours while the thread waits. */
static int copy_after_step(const char *path, apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 16384, 0, ids, 2, NULL),
                                      &report, p);
    said_t said = { 0, 0 };
    apr_time_t last, next;
    int i;

    alarm(300);
    wall_clock_ahead = apr_time_from_sec(7200);
    if (staple_cache_begin_copying(cache, hear, &said, p)) {
        return 1;
    }
    last = (apr_time_t)word_get(&cache->header->copy_round);
    for (i = 0; i < 3; i++) {
        next = next_round_of(cache);
        if (next == last) {
            return 2;
        }
        last = next;
    }
    return staple_cache_end_copying(cache, apr_time_from_sec(30)) ? 0 : 3;
}

static int status_of(int (*act)(const char *path, apr_pool_t *p),
                     apr_pool_t *p)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        _exit(act(in_scratch("ring", p), p));
    }
    waitpid(child, &status, 0);
    empty_scratch(p);
    return status;
}

static void test_copy_thread(apr_pool_t *p)
{
    is_int(status_of(copy_under_limit, p), 0, "a thread copies; what it cannot "
           "write it says once, and writes later; at the end nothing is "
           "missing");
    is_int(status_of(copy_soon, p), 0, "what is stored after a quiet second is "
           "written before the next one has passed");
    is_int(status_of(copy_after_failure, p), 0, "what could not be written and "
           "was replaced is not written later");
    if (!CAN_MOVE_CLOCKS) {
        ok(1, "a clock that is set back # SKIP it cannot be set");
        return;
    }
    is_int(status_of(copy_after_step, p), 0, "it goes on each second when the "
           "clock is set back");
}

/* As the parent's hook does, some time after the thread that copies. */
static staple_cache_file_e check(staple_cache_t *cache,
                                 staple_cache_report_t *report, apr_pool_t *p)
{
    staple_cache_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    (void)staple_cache_copy_round(cache, 1, p);
    return staple_cache_check_file(cache, &conf, report, p);
}

/* A restart of a server that had no ring so far. */
static void test_first_ring_of_restart(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(5, p);
    staple_cache_conf_t conf = make_conf(in_scratch("ring", p), 16384, 0, ids,
                                         5, NULL);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(conf, &report, p);

    fill_ring(cache, 5, 1500);
    copy_ring(cache, p);
    staple_cache_unmap(cache);
    conf.is_restart = 1;
    cache = make_ring(conf, &report, p);
    ok(report.seed == STAPLE_CACHE_SEED_NONE && !report.seeded
       && !report.old_file && !report.new_file,
       "a restart replaces what lies there without a look");
    copy_ring(cache, p);
    staple_cache_unmap(cache);
    conf.is_restart = 0;
    cache = make_ring(conf, &report, p);
    ok(report.seed == STAPLE_CACHE_SEED_FILE && !report.seeded,
       "... with a ring that is empty");
    staple_cache_unmap(cache);
    empty_scratch(p);
}

/* The same with a helper that says later what it has made. */
static staple_cache_file_e check_late(staple_cache_t *cache,
                                      staple_cache_report_t *report,
                                      apr_pool_t *p)
{
    staple_cache_conf_t conf;
    staple_cache_file_e file;
    int i = 0;

    memset(&conf, 0, sizeof(conf));
    conf.patience = 1;
    (void)staple_cache_copy_round(cache, 1, p);
    do {
        file = staple_cache_check_file(cache, &conf, report, p);
        usleep(10000);
    } while (file == STAPLE_CACHE_FILE_FINE && ++i < 3000);
    return file;
}

static void test_name_of_file(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(5, p);
    const char *path = in_scratch("ring", p);
    const char *other = in_scratch("other", p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 16384, 0, ids, 5, NULL),
                                      &report, p);

    fill_ring(cache, 5, 1500);
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_FINE,
           "a file in its place");
    unlink(path);
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_MADE,
           "one that was deleted is made anew");
    ok(is_copied(cache, path, p), "with what there is");
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_FINE,
           "and is in its place");

    write_file(other, (const unsigned char *)"", 0);
    rename(other, path);
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_MADE,
           "one that was replaced by an empty file is made anew");
    ok(report.old_file && strstr(report.old_file, "is empty; it was renamed"),
       "what became of the empty one is said");
    ok(is_copied(cache, path, p), "with what there is");

    write_file(other, (const unsigned char *)"", 0);
    rename(other, path);
    is_int(check_late(cache, &report, p), STAPLE_CACHE_FILE_MADE,
           "by a helper that is waited for later, too");
    ok(report.old_file && strstr(report.old_file, "is empty; it was renamed"),
       "... and what became of the empty one is said");

    write_file(other, (const unsigned char *)"some text\n", 10);
    rename(other, path);
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_LOST,
           "what is not a ring is left alone");
    ok(strstr(report.new_file, "is not a ring file") && !report.old_file,
       "and why is said");
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_LOST,
           "as long as it lies there");
    unlink(path);
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_MADE, "and not longer");
    ok(is_copied(cache, path, p), "the file has what there is");
    staple_cache_unmap(cache);
    empty_scratch(p);
}

#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 33) /* before, fstat is inline */
#define CAN_BE_STALE 1
#endif
#endif

#ifdef CAN_BE_STALE

/* What NFS says of a descriptor whose file was deleted on another machine. */
static int stale_fd = -1;

int fstat(int fd, struct stat *st)
{
    if (fd >= 0 && fd == stale_fd) {
        errno = ESTALE;
        return -1;
    }
    return fstatat(fd, "", st, AT_EMPTY_PATH);
}

static void test_stale_file(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    const char *path = in_scratch("ring", p);
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 16384, 0, ids, 2, NULL),
                                      &report, p);

    copy_ring(cache, p);
    stale_fd = cache->file;
    unlink(path);
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_MADE,
           "a file that is stale is made anew");
    stale_fd = -1;
    ok(is_copied(cache, path, p), "with what there is");
    staple_cache_unmap(cache);
    empty_scratch(p);
}

#else

static void test_stale_file(apr_pool_t *p)
{
    (void)p;
    ok(1, "a file that is stale # SKIP fstat has no stand-in here");
}

#endif

/* A file that was deleted while the clock was ahead, and other spans. */
static void test_clock_set_back(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    const char *path = in_scratch("ring", p);
    staple_cache_report_t report;
    staple_cache_t *cache;
    struct stat before, after;

    if (!CAN_MOVE_CLOCKS) {
        ok(1, "spans when the clock is set back # SKIP it cannot be set");
        return;
    }
    wall_clock_ahead = apr_time_from_sec(7200);
    cache = make_ring(make_conf(path, 16384, 0, ids, 2, NULL), &report, p);
    copy_ring(cache, p);
    stat(path, &before);
    wall_clock_ahead = 0;
    steady_clock_ahead = apr_time_from_sec(11);
    copy_ring(cache, p);
    stat(path, &after);
    ok(before.st_mtim.tv_sec != after.st_mtim.tv_sec
       || before.st_mtim.tv_nsec != after.st_mtim.tv_nsec,
       "the clock is set back: 10 s later the file's time says that the "
       "server lives");
    unlink(path);
    is_int(check(cache, &report, p), STAPLE_CACHE_FILE_MADE,
           "and a file that is gone is made anew");
    steady_clock_ahead = 0;
    staple_cache_unmap(cache);
    empty_scratch(p);
}

static void test_locked_file(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    const char *path = in_scratch("ring", p);
    staple_cache_report_t report;
    staple_cache_t *first = make_ring(make_conf(path, 8192, 0, ids, 2, NULL),
                                      &report, p);
    staple_cache_t *second, *third;

    second = make_ring(make_conf(path, 8192, 0, ids, 2, NULL), &report, p);
    ok(report.new_file && report.old_file
       && strstr(report.old_file, "another server"),
       "the file of a running server is left alone");
    staple_cache_unmap(second);
    is_nfs = 1;
    second = make_ring(make_conf(path, 8192, 0, ids, 2, NULL), &report, p);
    ok(report.new_file && report.old_file
       && strstr(report.old_file, "another server"), "... on NFS, too");
    is_nfs = 0;
    third = make_ring(make_conf(path, 8192, 0, ids, 2, first), &report, p);
    ok(!report.new_file && !report.old_file, "but not by its own next start");
    is_int(check(second, &report, p), STAPLE_CACHE_FILE_LOST,
           "the other one tries again");
    staple_cache_unmap(first);
    staple_cache_unmap(third);
    is_int(check(second, &report, p), STAPLE_CACHE_FILE_MADE,
           "until the first has ended");
    staple_cache_unmap(second);
    empty_scratch(p);
}

/* Programs that ask the refresher take turns; one that stops while it asks does
 * not stop the others. */
static void test_locked_places(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(2, p);
    const char *path = in_scratch("ring", p), *why;
    staple_cache_report_t report;
    staple_cache_t *cache = make_ring(make_conf(path, 8192, 0, ids, 2, NULL),
                                      &report, p);
    staple_cache_t *view;
    struct flock lock = { 0 };
    int ready[2];
    pid_t child;

    staple_cache_open_file(&view, path, &why, p);
    is_int(staple_cache_ask(view, path, 1, STAPLE_CACHE_REFRESH, 0),
           APR_TIMEUP, "a request that nobody takes");
    if (pipe(ready)) {
        abort();
    }
    child = fork();
    if (child == 0) {
        int fd = open(path, O_RDWR);

        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        fcntl(fd, F_SETLK, &lock);
        _exit(write(ready[1], "", 1) != 1 || pause());
    }
    if (read(ready[0], buf, 1) != 1) {
        abort();
    }
    alarm(300);
    is_int(staple_cache_ask(view, path, 1, STAPLE_CACHE_REFRESH,
                            apr_time_from_msec(200)),
           APR_EBUSY, "the places are locked: nobody waits longer than he may");
    alarm(0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    is_int(staple_cache_ask(view, path, 1, STAPLE_CACHE_REFRESH, 0),
           APR_TIMEUP, "... and they are free again");
    close(ready[0]);
    close(ready[1]);
    staple_cache_unmap(view);
    staple_cache_unmap(cache);
    empty_scratch(p);
}

static _Atomic int kills;

#ifdef __linux__
int kill(pid_t pid, int signal_number)
{
    kills++;
    return (int)syscall(SYS_kill, pid, signal_number);
}
#endif

/* The MPM reaps any process that has ended. */
static void test_reaped_helper(void)
{
    staple_cache_kept_t kept;
    pid_t helper = fork();
    int before = kills;

    if (helper == 0) {
        _exit(0);
    }
    waitpid(helper, NULL, 0);
    staple_cache_keep_nothing(&kept);
    kept.helper = helper;
    staple_cache_drop_helper(&kept);
    is_int(kills, before, "the number of a helper that was reaped gets no "
           "signal");
    helper = fork();
    if (helper == 0) {
        _exit(pause());
    }
    kept.helper = helper;
    staple_cache_drop_helper(&kept);
    alarm(300);
    ok(waitpid(helper, NULL, 0) == helper || errno == ECHILD,
       "one that is at work is ended");
    alarm(0);
}

/* Of an upgrade: t/unit/data/ring-N was made by the last version that wrote
 * layout N, with versions 43 and 42 of the first two of its certificates. */
static void test_older_layout(const char *name, apr_pool_t *p)
{
    const char *srcdir = getenv("STAPLE_SRCDIR");
    unsigned char *bytes = apr_palloc(p, 8192);
    const char *path = in_scratch("ring", p);
    cert_id_t *ids = make_ids(3, p);
    staple_cache_report_t report;
    staple_cache_served_t sum;
    staple_cache_state_t state;
    staple_cache_share_t share;
    staple_cache_t *cache;
    const char *reason;
    int is_3 = !strcmp(name, "ring-3");
    int fd = open(apr_pstrcat(p, srcdir ? srcdir : ".", "/t/unit/data/", name,
                              NULL), O_RDONLY);

    if (fd < 0 || read(fd, bytes, 8192) != 8192) {
        ok(0, "t/unit/data/%s can be read", name);
        return;
    }
    close(fd);
    write_file(path, bytes, 8192);
    ok(staple_cache_open_file(&cache, path, &reason, p) == APR_SUCCESS
       && version_of(cache, 0, 0, 0) == 43 && version_of(cache, 1, 1, 0) == 42,
       "%s can be read", name);
    is_str(name_of(cache, 1), "two.example:8443", "with its names");
    is_int((long long)staple_cache_others(cache), 0, "and lists no others");
    staple_cache_unmap(cache);
    cache = make_ring(make_conf(path, 16384, 0, ids, 3, NULL), &report, p);
    ok(report.seed == STAPLE_CACHE_SEED_FILE && report.seeded == 2
       && !report.old_file && version_of(cache, 0, 0, 1) == 43
       && version_of(cache, 1, 1, 1) == 42, "a start takes it over");
    staple_cache_state(cache, 1, &state);
    ok(state.last_attempt == 11 && state.next_due == 13 && state.attempts == 3
       && state.url_index == 1 && state.begun_at == (is_3 ? 0 : 17)
       && state.since == 0, "with the states");
    staple_cache_served(cache, 1, &sum);
    staple_cache_share(cache, &share);
    ok(sum.served == 5 && sum.missed == 7 && share.hits == 21,
       "and what was counted");
    staple_cache_unmap(cache);
    empty_scratch(p);
}

/* ---- Certificates without a slot, and failures. ---- */

static void test_others(apr_pool_t *p)
{
    const char *path = in_scratch("ring", p);
    cert_id_t *ids = make_ids(6, p);
    staple_cache_about_t about[3] = { { "a.test", 7, 1 }, { "b.test", 8, 2 },
                                      { "c.test", 9, 3 } };
    staple_cache_other_t others[2] = { { ids[4], { "d.test", 10, 4 } },
                                       { ids[5], { "e.test", 11, 5 } } }, other;
    staple_cache_conf_t conf = make_conf(path, 8192, 0, ids, 3, NULL);
    staple_cache_report_t report;
    staple_cache_t *cache, *file;
    const char *reason;

    conf.about = about;
    conf.others = others;
    conf.others_count = 2;
    create(&cache, &conf, &report, p);
    is_int((long long)report.left_out, 1, "one has no room");
    is_int((long long)staple_cache_others(cache), 3, "others are listed");
    staple_cache_other(cache, 1, &other);
    ok(!memcmp(other.id, ids[5], STAPLE_ID_LEN) && other.about.not_after == 11
       && other.about.traits == 5 && !strcmp(other.about.name, "e.test"),
       "with what is known of them");
    staple_cache_other(cache, 2, &other);
    is_str(other.about.name, "c.test", "then what had no room");
    is_int(staple_cache_find(cache, ids[4]), -1, "they have no slot");
    staple_cache_about(cache, 1, &other.about);
    ok(other.about.not_after == 8 && other.about.traits == 2,
       "of a slot the same is known");
    staple_cache_count_failure(cache, 3);
    staple_cache_count_failure(cache, 3);
    staple_cache_count_failure(cache, STAPLE_CACHE_FAILURES);
    is_int((long long)staple_cache_failures(cache, 3), 2,
           "failures are counted");
    staple_cache_copy_round(cache, 1, p);
    staple_cache_open_file(&file, path, &reason, p);
    is_int((long long)staple_cache_others(file), 3, "a file lists them, too");
    is_int((long long)staple_cache_failures(file, 3), 2, "and has the counts");
    staple_cache_unmap(file);
    conf.previous = staple_cache_kept(cache);
    conf.others_count = 0;
    create(&file, &conf, &report, p);
    is_int((long long)staple_cache_others(file), 1,
           "a new generation lists its own");
    is_int((long long)staple_cache_failures(file, 3), 2,
           "and goes on counting");
    staple_cache_unmap(file);
    staple_cache_unmap(cache);
    empty_scratch(p);
}

/* However many there are, room for responses comes first. */
static void test_many_others(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(3000, p);
    staple_cache_other_t *others = apr_pcalloc(p, 3000 * sizeof(*others));
    staple_cache_conf_t conf = make_conf(NULL, 8192, 1, ids, 2, NULL);
    staple_cache_report_t report;
    staple_cache_t *cache;
    int i;

    for (i = 0; i < 3000; i++) {
        others[i].id = ids[i];
        others[i].about.name = "x.test";
    }
    conf.others = others;
    conf.others_count = 3000;
    create(&cache, &conf, &report, p);
    is_int((long long)report.size_granted, 8192,
           "a ring does not grow for their sake");
    ok(staple_cache_others(cache) > 0 && staple_cache_others(cache) < 50,
       "as many are listed as there is room for");
    staple_cache_unmap(cache);
    conf.ids_count = 10;
    create(&cache, &conf, &report, p);
    is_int((long long)staple_cache_others(cache), STAPLE_CACHE_OTHERS_MAX,
           "where it grows in any case, all that may be");
    staple_cache_unmap(cache);
}

/* ---- What a hostile process can do. ---- */

/* Where memory is weaker, a child may have written anything into it: the next
 * generation must neither fail nor grow beyond measure. */
static void test_hostile_memory(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(50, p);
    apr_uint64_t random = 99;
    apr_size_t largest = 0;
    apr_pool_t *ptemp;
    int round, made = 0;

    apr_pool_create(&ptemp, p);
    for (round = 0; round < 300; round++) {
        staple_cache_report_t report;
        staple_cache_t *old = make_ring(make_conf(NULL, 65536, 1,
                                                  ids, 50, NULL),
                                        &report, ptemp);
        staple_cache_conf_t conf = make_conf(NULL, 65536, 1, ids, 50, old);
        staple_cache_t *next;
        apr_size_t length, hits = 1 + random_below(&random, 3000);
        unsigned char *bytes;
        void *base;

        fill_ring(old, 50, 300);
        staple_cache_mapping(old, &base, &length);
        bytes = base;
        while (hits--) {
            apr_size_t at = round % 2 ? random_below(&random, 20000)
                                      : 128 + random_below(&random, 20000);

            bytes[at] = (unsigned char)next_random(&random);
        }
        if (round % 3 == 0) { /* each asks for all the room there can be */
            staple_cache_slot_t *slots
                = (staple_cache_slot_t *)(bytes
                                          + sizeof(staple_cache_header_t));
            int i;

            for (i = 0; i < 50; i++) {
                atomic_store(&slots[i].wanted, 65600);
            }
        }
        memset(staple_cache_kept(old)->counters.base, 0xFF, 64);
        if (staple_cache_create(&next, &conf, &report, ptemp)
            == APR_SUCCESS) {
            made++;
            largest = report.size_granted > largest ? report.size_granted
                                                    : largest;
            staple_cache_unmap(next);
        }
        staple_cache_unmap(old);
        apr_pool_clear(ptemp);
    }
    is_int(made, 300, "whatever lies in the old memory, there is a new ring");
    ok(largest < 2 * (STAPLE_CACHE_SIZE_DEFAULT + 300000),
       "of a size that stays within bounds (%lu)", (unsigned long)largest);
    apr_pool_destroy(ptemp);
}

/* ---- Threads, for ThreadSanitizer: all in one process. ---- */

#if APR_HAS_THREADS
#include <apr_thread_proc.h>

typedef struct threads_t {
    staple_cache_t *cache;
    torn_t *torn;
} threads_t;

static void *APR_THREAD_FUNC run_reader(apr_thread_t *thread, void *data)
{
    threads_t *threads = data;
    apr_uint64_t i;
    staple_cache_state_t state;

    (void)thread;
    for (i = 0; i < 40; i++) {
        torn_read(threads->cache, threads->torn, 0, 500);
        staple_cache_state(threads->cache, 0, &state);
        if (state.attempts != state.failures) {
            threads->torn->reader[0].torn++;
        }
    }
    return NULL;
}

static void *APR_THREAD_FUNC run_writer(apr_thread_t *thread, void *data)
{
    threads_t *threads = data;
    staple_cache_state_t state;
    int i, slot;

    (void)thread;
    memset(&state, 0, sizeof(state));
    for (i = 97; i < 8000; i++) {
        slot = i % TORN_SLOTS;
        store_der(threads->cache, slot,
                  torn_length((apr_uint32_t)slot, (apr_uint32_t)i),
                  (apr_uint32_t)slot, (apr_uint32_t)i);
        atomic_store(&threads->torn->stored[slot], (apr_uint32_t)i);
        state.attempts = state.failures = (apr_uint32_t)i;
        staple_cache_set_state(threads->cache, 0, &state);
    }
    return NULL;
}

static void test_threads(apr_pool_t *p)
{
    torn_t *torn = shared_memory(sizeof(*torn));
    threads_t threads;
    apr_thread_t *reader, *writer;
    apr_status_t rv;

    threads.torn = torn;
    threads.cache = torn_ring(torn, 0, p);
    apr_thread_create(&reader, NULL, run_reader, &threads, p);
    apr_thread_create(&writer, NULL, run_writer, &threads, p);
    apr_thread_join(&rv, reader);
    apr_thread_join(&rv, writer);
    is_int((long long)(torn->reader[0].torn + torn->reader[0].missed
                       + torn->reader[0].foreign + torn->reader[0].stale), 0,
           "threads of one process read whole records and states");
    staple_cache_unmap(threads.cache);
    munmap(torn, sizeof(*torn));
}
#endif

/* ---- What the fuzzer has found. ---- */

static void test_corpus(apr_pool_t *p)
{
    const char *srcdir = getenv("STAPLE_SRCDIR");
    const char *path = apr_pstrcat(p, srcdir ? srcdir : ".",
                                   "/t/fuzz/corpus/cache", NULL);
    unsigned char *bytes = apr_palloc(p, FUZZ_FILE_MAX);
    DIR *dir = opendir(path);
    struct dirent *entry;
    int cases = 0;

    if (!dir) {
        ok(!srcdir, "the fuzzer's corpus at %s%s", path,
           srcdir ? "" : " # SKIP STAPLE_SRCDIR is not set");
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        int fd = open(apr_pstrcat(p, path, "/", entry->d_name, NULL), O_RDONLY);
        ssize_t size = fd >= 0 ? read(fd, bytes, FUZZ_FILE_MAX) : -1;

        if (size > 0) {
            LLVMFuzzerTestOneInput(bytes, (size_t)size);
            cases++;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    closedir(dir);
    ok(cases > 10, "the fuzzer's corpus, %d files", cases);
}

int main(void)
{
    char name[] = "/tmp/staple-cache-XXXXXX";
    apr_pool_t *p;

    apr_initialize();
    apr_pool_create(&p, NULL);
    scratch = mkdtemp(name);
    if (!scratch) {
        return 1;
    }
    test_spec(p);
    test_basics(p);
    test_no_overrun(p);
    test_model(p);
    test_stray_writes(p);
    test_left_pending(p);
    test_from_memory(p);
    test_counts_and_requests(p);
    test_names(p);
    test_share_counts(p);
    test_mapping(p);
    test_growth(p);
    test_from_file(p);
    test_spoilt_files(p);
    test_flipped_file(p);
    test_left_overs(p);
    test_bad_places(p);
    test_one_writer(p);
    test_copy(p);
    test_copy_in_runs(p);
    test_interference(p);
    test_copy_thread(p);
    test_first_ring_of_restart(p);
    test_name_of_file(p);
    test_stale_file(p);
    test_clock_set_back(p);
    test_locked_file(p);
    test_locked_places(p);
    test_reaped_helper();
    test_older_layout("ring-3", p);
    test_older_layout("ring-4", p);
    test_others(p);
    test_many_others(p);
    test_hostile_memory(p);
#if APR_HAS_THREADS
    test_threads(p);
#endif
    test_corpus(p);
    rmdir(scratch);
    apr_pool_destroy(p);
    apr_terminate();
    return tap_done();
}
