/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The segment of a new generation: which certificates it has room for, what it
 * takes over from the one before or from the file, and how it comes to lie in
 * a file of its own. Called in the parent, before children exist.
 *
 * The one idea: nothing is ever changed in a segment that others may see. All
 * that is worth keeping is copied out of the old one first, because its
 * writers go on and because it decides how large the new one has to be; the
 * new one is made whole in memory, and goes to the file last.
 */

#include "segment.h"

#include <sys/mman.h>

#include <apr_strings.h>

#include "file.h"

/* ---- The heirs. ---- */

/* What the new generation takes over for one certificate. */
typedef struct heir_t {
    unsigned char *der; /* NULL: no response */
    apr_size_t len;
    staple_cache_meta_t meta;
    staple_cache_state_t state;
    staple_cache_served_t served;
    apr_uint64_t bytes; /* of the record to make room for */
    int is_pending;
} heir_t;

/* Copy everything out first: the source may change under our hands, and the
 * new segment's size depends on what there is. */
static void inherit(heir_t *heir, const staple_cache_t *from, int slot,
                    unsigned char *buf, apr_pool_t *ptemp)
{
    apr_uint32_t wanted = wanted_get(&from->slots[slot]);
    apr_status_t rv;

    staple_cache_state(from, slot, &heir->state);
    staple_cache_served(from, slot, &heir->served);
    rv = staple_cache_read(from, slot, buf, STAPLE_CACHE_DER_MAX, &heir->len,
                           &heir->meta);
    if (rv != APR_SUCCESS) {
        rv = staple_cache_read_pending(from, slot, buf, STAPLE_CACHE_DER_MAX,
                                       &heir->len, &heir->meta);
        heir->is_pending = 1;
    }
    if (rv == APR_SUCCESS) {
        heir->der = apr_pmemdup(ptemp, buf, heir->len);
        heir->bytes = record_bytes(heir->len);
    }
    if (wanted <= record_bytes(STAPLE_CACHE_DER_MAX) && wanted > heir->bytes) {
        heir->bytes = wanted;
    }
}

static heir_t *inherit_all(const staple_cache_conf_t *conf,
                           const staple_cache_t *from, apr_pool_t *ptemp)
{
    heir_t *heirs = apr_pcalloc(ptemp, (conf->ids_count + 1) * sizeof(*heirs));
    unsigned char *buf = apr_palloc(ptemp, STAPLE_CACHE_DER_MAX);
    apr_size_t i;

    for (i = 0; i < conf->ids_count; i++) {
        int slot = from ? staple_cache_find(from, conf->ids[i]) : -1;

        if (slot >= 0) {
            inherit(&heirs[i], from, slot, buf, ptemp);
        }
        if (!heirs[i].bytes) {
            heirs[i].bytes = record_bytes(STAPLE_CACHE_TYPICAL);
        }
    }
    return heirs;
}

/* How many of the certificates, in their order, fit which size. */
static apr_size_t plan(const staple_cache_conf_t *conf, const heir_t *heirs,
                       staple_cache_report_t *report)
{
    apr_uint64_t records = 0, longest = 0, need;
    apr_size_t size = conf->size, fit = 0, i;

    size = size < STAPLE_CACHE_SIZE_MIN ? STAPLE_CACHE_SIZE_MIN : size;
    need = staple_cache_need(0, 0, 0);
    for (i = 0; i < conf->ids_count; i++) {
        records += heirs[i].bytes;
        longest = heirs[i].bytes > longest ? heirs[i].bytes : longest;
        need = staple_cache_need(i + 1, records, longest);
        if (need <= size) {
            fit = i + 1;
        }
    }
    report->size_wanted = (apr_size_t)need;
    report->size_granted = size;
    if (conf->may_grow && need > size) {
        report->size_granted = (apr_size_t)need;
    }
    if (report->size_granted >= need) {
        fit = conf->ids_count;
    }
    report->left_out = conf->ids_count - fit;
    return fit;
}

/* ---- The new segment. ---- */

static void enter_bucket(staple_cache_t *cache, apr_uint32_t slot)
{
    apr_uint32_t bucket = first_bucket(cache->slots[slot].id,
                                       cache->buckets_count);

    while (cache->buckets[bucket]) {
        bucket = bucket + 1 == cache->buckets_count ? 0 : bucket + 1;
    }
    cache->buckets[bucket] = slot + 1;
}

/* Of a name that is too long the end is kept: it says whose the host is. */
static void write_name(slot_t *slot, const char *name)
{
    apr_size_t len = strlen(name);

    if (len < sizeof(slot->name)) {
        memcpy(slot->name, name, len);
        return;
    }
    apr_cpystrn(slot->name, STAPLE_CACHE_NAME_CUT, sizeof(slot->name));
    len -= sizeof(slot->name) - sizeof(STAPLE_CACHE_NAME_CUT);
    apr_cpystrn(slot->name + sizeof(STAPLE_CACHE_NAME_CUT) - 1, name + len,
                sizeof(slot->name));
}

static void *map_memory(apr_size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

static void init_slot(staple_cache_t *cache, apr_uint32_t i,
                      const staple_cache_conf_t *conf)
{
    static const state_words_t no_state;
    slot_t *slot = &cache->slots[i];

    memcpy(slot->id, conf->ids[i], STAPLE_ID_LEN);
    if (conf->names) {
        write_name(slot, conf->names[i]);
    }
    word_put(&slot->state_sum, state_sum(slot, no_state));
    enter_bucket(cache, i);
}

/* An empty segment with its slots, in memory that is all 0. */
static void format(staple_cache_t *cache, void *base, apr_size_t size,
                   const staple_cache_conf_t *conf, apr_uint32_t slots,
                   apr_uint64_t start, apr_uint64_t generation)
{
    header_t *header = base;
    apr_uint32_t i;

    staple_cache_lay_out(header, slots, size);
    header->start = start;
    header->generation = generation;
    header->created = apr_time_now();
    header->sum = staple_cache_header_sum(header);
    staple_cache_bind(cache, base, size);
    position_put(&header->head, start);
    position_put(&header->tail, start);
    for (i = 0; i < slots; i++) {
        init_slot(cache, i, conf);
    }
}

/* Nobody else sees the segment yet, so there is nobody to lock out. */
static apr_size_t seed(staple_cache_t *cache, const heir_t *heirs,
                       int from_file)
{
    apr_size_t seeded = 0;
    apr_uint32_t i;

    for (i = 0; i < cache->slots_count; i++) {
        const heir_t *heir = &heirs[i];
        slot_t *slot = &cache->slots[i];
        word_t *mark = from_file || heir->is_pending
                       ? &slot->pending : &slot->served;

        staple_cache_write_state(cache, slot, &heir->state);
        staple_cache_count_served(cache, (int)i, &heir->served);
        if (heir->der
            && staple_cache_append(cache, slot, mark, heir->der, heir->len,
                                   &heir->meta) == APR_SUCCESS) {
            seeded++;
        }
    }
    return seeded;
}

/* How the share has fared so far; how it fares now is not known yet. */
static void seed_share(staple_cache_t *cache, const staple_cache_t *from)
{
    staple_cache_share_t sum;

    staple_cache_share(from, &sum);
    sum.since = 0;
    sum.is_silent = 0;
    staple_cache_count_share(cache, &sum);
}

/* ---- The file, and the whole. ---- */

/* Make the ring lie in a file, or say why it does not. */
static void settle_in_file(staple_cache_t *cache, const char *path,
                           const staple_cache_found_t *old,
                           staple_cache_report_t *report, apr_pool_t *p)
{
    apr_size_t length = cache->length;
    const char *aside;
    void *mapping = NULL;

    staple_cache_file_reap(path, p);
    if (old->what == STAPLE_CACHE_FOUND_FOREIGN) {
        report->new_file = "what is there is not touched";
    }
    else if (old->what == STAPLE_CACHE_FOUND_BROKEN) {
        report->new_file = staple_cache_file_set_aside(path, &aside, p);
        if (!report->new_file) {
            report->old_file = apr_psprintf(p, "%s; it was renamed to %s",
                                            old->why, aside);
        }
    }
    if (!report->new_file) {
        report->new_file = staple_cache_file_make(path, cache->base, length,
                                                  &mapping, p);
    }
    if (mapping) {
        staple_cache_unmap(cache);
        staple_cache_bind(cache, mapping, length);
    }
}

/* The file that may be there, as a cache of its own; NULL: none to use. */
static staple_cache_t *find_old(const char *path, staple_cache_found_t *old,
                                staple_cache_report_t *report, apr_pool_t *p)
{
    staple_cache_t *cache = NULL;

    memset(old, 0, sizeof(*old));
    old->what = STAPLE_CACHE_FOUND_NOTHING;
    if (path) {
        *old = staple_cache_file_find(path, 0, p);
    }
    if (old->what == STAPLE_CACHE_FOUND_RING) {
        staple_cache_attach(&cache, old->base, old->size, p);
    }
    else if (old->what != STAPLE_CACHE_FOUND_NOTHING) {
        report->old_file = old->why;
    }
    return cache;
}

/* A segment in memory, with what `from` (NULL: nothing) has to leave. */
static apr_status_t make(staple_cache_t **cache,
                         const staple_cache_conf_t *conf,
                         const staple_cache_t *from, apr_uint64_t start,
                         staple_cache_report_t *report, apr_pool_t *p,
                         apr_pool_t *ptemp)
{
    heir_t *heirs = inherit_all(conf, from, ptemp);
    apr_size_t fit = plan(conf, heirs, report);
    void *base = map_memory(report->size_granted);
    staple_cache_usage_t usage;

    if (!base) {
        return APR_ENOMEM;
    }
    memset(&usage, 0, sizeof(usage));
    if (from) {
        staple_cache_usage(from, &usage);
    }
    *cache = apr_pcalloc(p, sizeof(**cache));
    format(*cache, base, report->size_granted, conf, (apr_uint32_t)fit, start,
           usage.generation + 1);
    report->seeded = seed(*cache, heirs,
                          report->seed == STAPLE_CACHE_SEED_FILE);
    report->dropped = usage.records > report->seeded
                      ? usage.records - report->seeded : 0;
    if (from) {
        seed_share(*cache, from);
    }
    return APR_SUCCESS;
}

apr_status_t staple_cache_create_at(staple_cache_t **cache,
                                    const staple_cache_conf_t *conf,
                                    staple_cache_report_t *report,
                                    apr_uint64_t start, apr_pool_t *p)
{
    staple_cache_t *from = conf->previous, *in_file;
    staple_cache_found_t old;
    apr_pool_t *ptemp;
    apr_status_t rv;

    memset(report, 0, sizeof(*report));
    rv = apr_pool_create(&ptemp, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    in_file = find_old(conf->path, &old, report, p);
    if (from) {
        report->seed = STAPLE_CACHE_SEED_MEMORY;
    }
    else if (in_file) {
        report->seed = STAPLE_CACHE_SEED_FILE;
        from = in_file;
    }
    rv = make(cache, conf, from, start, report, p, ptemp);
    if (rv == APR_SUCCESS && conf->path) {
        settle_in_file(*cache, conf->path, &old, report, p);
    }
    if (in_file) {
        staple_cache_unmap(in_file);
    }
    apr_pool_destroy(ptemp);
    return rv;
}

apr_status_t staple_cache_create(staple_cache_t **cache,
                                 const staple_cache_conf_t *conf,
                                 staple_cache_report_t *report, apr_pool_t *p)
{
    return staple_cache_create_at(cache, conf, report, 0, p);
}
