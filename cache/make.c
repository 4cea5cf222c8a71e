/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The segment of a new generation: which certificates it has room for, what is
 * carried over from the one before or from the file, and how the new one comes
 * to have a file of its own. Called in the parent.
 *
 * The one idea: what others may write is read once. The old segment, or the
 * file, is copied into private memory as it is; that copy is checked, and what
 * the new one gets is taken from there alone. The new one is made whole in
 * private memory too, and is then put where all can read it; a copy goes to the
 * file last.
 */

#include "segment.h"
#include "staple_clock.h"
#include "staple_text.h"

#include <unistd.h>
#include <sys/mman.h>

#include <apr_strings.h>

#include "file.h"
#include "helper.h"

/* ---- What is carried over. ---- */

/* For one certificate. */
typedef struct carried_t {
    unsigned char *der; /* NULL: no response */
    apr_size_t len;
    staple_cache_meta_t meta;
    staple_cache_state_t state;
    staple_cache_served_t served;
    apr_uint64_t bytes; /* of the record to make room for */
    int is_pending;
} carried_t;

/* How many bytes of records may be made room for because of what the old
 * segment says: not more than it can have had, and what it had to refuse. */
typedef struct budget_t {
    apr_uint64_t held;
    apr_uint64_t refused;
} budget_t;

/* A small segment may have refused a few responses that are large. */
#define REFUSED_MIN ((apr_uint64_t)STAPLE_CACHE_SIZE_DEFAULT)

/* Copied out, because the new segment's size depends on what there is. */
static void carry_response(carried_t *carried, const staple_cache_t *from,
                           int slot, budget_t *budget, apr_pool_t *ptemp)
{
    unsigned char buf[STAPLE_CACHE_DER_MAX];
    apr_status_t rv = staple_cache_read(from, slot, buf, sizeof(buf),
                                        &carried->len, &carried->meta);

    if (rv != APR_SUCCESS) {
        rv = staple_cache_read_pending(from, slot, buf, sizeof(buf),
                                       &carried->len, &carried->meta);
        carried->is_pending = 1;
    }
    if (rv == APR_SUCCESS && record_bytes(carried->len) <= budget->held) {
        carried->der = apr_pmemdup(ptemp, buf, carried->len);
        carried->bytes = record_bytes(carried->len);
        budget->held -= carried->bytes;
    }
}

static void carry(carried_t *carried, const staple_cache_t *from, int slot,
                  budget_t *budget, apr_pool_t *ptemp)
{
    apr_uint32_t wanted = wanted_get(&from->slots[slot]);

    staple_cache_state(from, slot, &carried->state);
    staple_cache_served(from, slot, &carried->served);
    carry_response(carried, from, slot, budget, ptemp);
    if (wanted <= record_bytes(STAPLE_CACHE_DER_MAX)
        && wanted > carried->bytes && wanted <= budget->refused) {
        carried->bytes = wanted;
        budget->refused -= wanted;
    }
}

static carried_t *carry_all(const staple_cache_conf_t *conf,
                            const staple_cache_t *from, apr_pool_t *ptemp)
{
    carried_t *all = apr_pcalloc(ptemp, (conf->ids_count + 1) * sizeof(*all));
    budget_t budget = { 0, REFUSED_MIN };
    apr_size_t i;

    if (from) {
        budget.held = from->data_size;
        budget.refused = from->data_size > REFUSED_MIN ? from->data_size
                                                       : REFUSED_MIN;
    }
    for (i = 0; i < conf->ids_count; i++) {
        int slot = from ? staple_cache_find(from, conf->ids[i]) : -1;

        if (slot >= 0) {
            carry(&all[i], from, slot, &budget, ptemp);
        }
        if (!all[i].bytes) {
            all[i].bytes = record_bytes(STAPLE_CACHE_TYPICAL);
        }
    }
    return all;
}

/* No ring is made larger than this, unless responses of the greatest length
 * for all of its certificates would not fit: the rest would be reserved on the
 * disk for nothing. */
#define SIZE_USEFUL ((apr_size_t)64 * 1024 * 1024)

apr_size_t staple_cache_size_useful(apr_size_t size, apr_size_t certificates)
{
    apr_uint64_t longest = record_bytes(STAPLE_CACHE_DER_MAX);
    apr_uint64_t most = staple_cache_need(certificates, certificates * longest,
                                          longest);

    most = most < SIZE_USEFUL ? SIZE_USEFUL : most;
    return size > most ? (apr_size_t)most : size;
}

/* Where a segment grows in any case. */
static apr_size_t room_for_others(const staple_cache_conf_t *conf)
{
    apr_size_t count = conf->others_count < STAPLE_CACHE_OTHERS_MAX
                       ? conf->others_count : STAPLE_CACHE_OTHERS_MAX;

    return count ? count * sizeof(listed_t) + STAPLE_CACHE_BLOCK : 0;
}

/* How many of the certificates, in their order, fit which size. */
static apr_size_t plan(const staple_cache_conf_t *conf, const carried_t *all,
                       staple_cache_report_t *report)
{
    apr_uint64_t records = 0, longest = 0, need;
    apr_size_t size = staple_cache_size_useful(conf->size, conf->ids_count);
    apr_size_t fit = 0, i;

    size = size < STAPLE_CACHE_SIZE_MIN ? STAPLE_CACHE_SIZE_MIN : size;
    need = staple_cache_need(0, 0, 0);
    for (i = 0; i < conf->ids_count; i++) {
        records += all[i].bytes;
        longest = all[i].bytes > longest ? all[i].bytes : longest;
        need = staple_cache_need(i + 1, records, longest);
        if (need <= size) {
            fit = i + 1;
        }
    }
    report->size_wanted = (apr_size_t)need;
    report->size_granted = size;
    if (conf->may_grow && need > size) {
        report->size_granted = (apr_size_t)(need + room_for_others(conf));
    }
    if (report->size_granted >= need) {
        fit = conf->ids_count;
    }
    report->left_out = conf->ids_count - fit;
    return fit;
}

/* How many without a slot are listed: as many as there is room for beside what
 * responses are expected to take. */
static apr_uint32_t plan_others(const staple_cache_conf_t *conf,
                                const carried_t *all, apr_size_t fit,
                                const staple_cache_report_t *report)
{
    apr_uint64_t records = 0, longest = 0, need, room;
    apr_size_t wanted = conf->others_count + conf->ids_count - fit, i;

    for (i = 0; i < fit; i++) {
        records += all[i].bytes;
        longest = all[i].bytes > longest ? all[i].bytes : longest;
    }
    need = staple_cache_need(fit, records, longest);
    room = report->size_granted > need + STAPLE_CACHE_BLOCK
           ? (report->size_granted - need - STAPLE_CACHE_BLOCK)
             / sizeof(listed_t)
           : 0;
    wanted = wanted < STAPLE_CACHE_OTHERS_MAX ? wanted
                                              : STAPLE_CACHE_OTHERS_MAX;
    return (apr_uint32_t)(wanted < room ? wanted : room);
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
void staple_cache_write_name(label_t *label, const char *name)
{
    apr_size_t len = strlen(name);

    if (len < sizeof(label->name)) {
        memcpy(label->name, name, len);
        return;
    }
    apr_cpystrn(label->name, STAPLE_CACHE_NAME_CUT, sizeof(label->name));
    len -= sizeof(label->name) - sizeof(STAPLE_CACHE_NAME_CUT);
    apr_cpystrn(label->name + sizeof(STAPLE_CACHE_NAME_CUT) - 1, name + len,
                sizeof(label->name));
}

static void write_label(label_t *label, const staple_cache_about_t *about)
{
    staple_cache_write_name(label, about->name);
    label->not_after = about->not_after;
    label->traits = about->traits;
}

static void init_slot(staple_cache_t *cache, apr_uint32_t i,
                      const staple_cache_conf_t *conf)
{
    static const state_words_t no_state;
    slot_t *slot = &cache->slots[i];

    memcpy(slot->id, conf->ids[i], STAPLE_ID_LEN);
    if (conf->about) {
        write_label(&slot->label, &conf->about[i]);
    }
    word_put(&slot->state_sum, state_sum(slot, no_state));
    enter_bucket(cache, i);
}

/* Those that are to have no slot come first, then those for which there was
 * none. */
static void list_other(staple_cache_t *cache, apr_uint32_t i,
                       const staple_cache_conf_t *conf)
{
    listed_t *listed = &cache->others[i];
    apr_size_t left_out;

    if (i < conf->others_count) {
        memcpy(listed->id, conf->others[i].id, STAPLE_ID_LEN);
        write_label(&listed->label, &conf->others[i].about);
        return;
    }
    left_out = cache->slots_count + (i - conf->others_count);
    memcpy(listed->id, conf->ids[left_out], STAPLE_ID_LEN);
    if (conf->about) {
        write_label(&listed->label, &conf->about[left_out]);
    }
}

/* What a segment is to be. */
typedef struct shape_t {
    apr_size_t size;
    apr_uint32_t slots;
    apr_uint32_t others;
    apr_uint64_t start;
    apr_uint64_t generation;
} shape_t;

/* An empty segment with its slots, in memory that is all 0. */
static void format(staple_cache_t *cache, void *base, const shape_t *shape,
                   const staple_cache_conf_t *conf)
{
    header_t *header = base;
    apr_uint32_t i;

    staple_cache_lay_out(header, shape->slots, shape->others, shape->size);
    header->start = shape->start;
    header->generation = shape->generation;
    header->created = apr_time_now();
    header->sum = staple_cache_header_sum(header);
    cache->kept.ring.base = base;
    cache->kept.ring.size = shape->size;
    staple_cache_bind(cache, base, shape->size);
    position_put(&header->head, shape->start);
    position_put(&header->tail, shape->start);
    for (i = 0; i < shape->slots; i++) {
        init_slot(cache, i, conf);
    }
    for (i = 0; i < shape->others; i++) {
        list_other(cache, i, conf);
    }
}

static apr_size_t seed(staple_cache_t *cache, const carried_t *all,
                       int from_file)
{
    apr_size_t seeded = 0;
    apr_uint32_t i;

    for (i = 0; i < cache->slots_count; i++) {
        const carried_t *carried = &all[i];
        slot_t *slot = &cache->slots[i];
        word_t *mark = from_file || carried->is_pending
                       ? &slot->pending : &slot->served;

        staple_cache_write_state(cache, slot, &carried->state);
        word_put(&slot->served_count, carried->served.served);
        word_put(&slot->missed_count, carried->served.missed);
        if (carried->der
            && staple_cache_append(cache, slot, mark, carried->der,
                                   carried->len, &carried->meta)
               == APR_SUCCESS) {
            seeded++;
        }
    }
    return seeded;
}

/* What is counted of the whole goes on. How the share has fared so far is
 * known; how it fares now is not known yet. */
static void seed_counts(staple_cache_t *cache, const staple_cache_t *from)
{
    staple_cache_share_t sum;
    unsigned int i;

    staple_cache_share(from, &sum);
    sum.since = 0;
    sum.is_silent = 0;
    staple_cache_count_share(cache, &sum);
    for (i = 0; i < STAPLE_CACHE_FAILURES; i++) {
        word_put(&cache->header->failures[i], staple_cache_failures(from, i));
    }
}

/* ---- The old segment. ---- */

/* A file is read if it can have come from a server of this kind. */
static apr_size_t size_to_read(const staple_cache_conf_t *conf)
{
    const apr_size_t usual = (apr_size_t)64 * 1024 * 1024;
    apr_uint64_t record = record_bytes(STAPLE_CACHE_DER_MAX);
    apr_uint64_t most = staple_cache_need(conf->ids_count,
                                          conf->ids_count * record, record);
    apr_size_t size = conf->size > usual ? conf->size : usual;

    return most > size ? (apr_size_t)most : size;
}

/* What a stop has left at the path: a restart has no use for it, and must not
 * wait for its disk. */
static staple_cache_found_t find_file(const staple_cache_conf_t *conf,
                                      staple_cache_report_t *report,
                                      apr_pool_t *p)
{
    staple_cache_search_t search = { conf->path, 0, -1, size_to_read(conf) };
    staple_cache_found_t old;

    memset(&old, 0, sizeof(old));
    old.what = STAPLE_CACHE_FOUND_NOTHING;
    if (!conf->path || conf->previous || conf->is_restart) {
        return old;
    }
    old = staple_cache_file_find(&search, p);
    if (old.what == STAPLE_CACHE_FOUND_FOREIGN
        || old.what == STAPLE_CACHE_FOUND_BROKEN) {
        report->old_file = old.why;
    }
    return old;
}

/* What the counters say at this moment; nothing else of them is used. */
static void copy_counters(staple_cache_t *cache, const staple_memory_t *from)
{
    apr_size_t size = from->size;

    if (size < staple_cache_counters_size(0)) {
        return;
    }
    cache->kept.counters.base = staple_cache_private(size);
    if (cache->kept.counters.base) {
        memcpy(cache->kept.counters.base, from->base, size);
        staple_cache_bind_counters(cache, size);
    }
}

/* The generation before, as it is at this moment; NULL: it is of no use. */
static staple_cache_t *copy_previous(const staple_cache_kept_t *previous,
                                     apr_pool_t *p)
{
    apr_size_t size = previous->ring.size;
    void *base = size >= sizeof(header_t) ? staple_cache_private(size) : NULL;
    staple_cache_t *cache = NULL;

    if (!base) {
        return NULL;
    }
    memcpy(base, previous->ring.base, size);
    if (staple_cache_update(&base, &size)
        || staple_cache_attach(&cache, base, size, p)) {
        munmap(base, size);
        return NULL;
    }
    copy_counters(cache, &previous->counters);
    return cache;
}

/* ---- The new one. ---- */

/* Let a new cache have memory that all can read, with what was made in
 * private memory. */
static apr_status_t publish(staple_cache_t *cache,
                            staple_cache_report_t *report)
{
    void *made = cache->kept.ring.base;
    apr_size_t size = cache->length;
    apr_status_t rv = staple_memory_make(&cache->kept.ring, made, size,
                                         &report->weaker);

    munmap(made, size);
    if (!rv) {
        staple_cache_bind(cache, cache->kept.ring.base, size);
        size = staple_cache_counters_size(cache->slots_count);
        rv = staple_memory_make_open(&cache->kept.counters, size);
    }
    if (rv) {
        staple_cache_unmap(cache);
        return rv;
    }
    staple_cache_bind_counters(cache, size);
    return APR_SUCCESS;
}

/* A segment with what `from` (NULL: nothing) has to leave. */
static apr_status_t make(staple_cache_t *cache,
                         const staple_cache_conf_t *conf,
                         const staple_cache_t *from, apr_uint64_t start,
                         staple_cache_report_t *report, apr_pool_t *ptemp)
{
    carried_t *all = carry_all(conf, from, ptemp);
    shape_t shape = { 0, (apr_uint32_t)plan(conf, all, report), 0, start, 1 };
    void *base = staple_cache_private(report->size_granted);
    staple_cache_usage_t usage;

    if (!base) {
        return APR_ENOMEM;
    }
    memset(&usage, 0, sizeof(usage));
    if (from) {
        staple_cache_usage(from, &usage);
    }
    shape.size = report->size_granted;
    shape.others = plan_others(conf, all, shape.slots, report);
    shape.generation += usage.generation;
    format(cache, base, &shape, conf);
    report->seeded = seed(cache, all, report->seed == STAPLE_CACHE_SEED_FILE);
    report->dropped = usage.records > report->seeded
                      ? usage.records - report->seeded : 0;
    if (from) {
        seed_counts(cache, from);
    }
    return publish(cache, report);
}

/* From the generation before or from a file that was read, which is given
 * back. */
static apr_status_t make_from(staple_cache_t *cache,
                              const staple_cache_conf_t *conf,
                              const staple_cache_found_t *old,
                              apr_uint64_t start,
                              staple_cache_report_t *report,
                              apr_pool_t *ptemp)
{
    staple_cache_t *from = NULL;
    apr_status_t rv;

    if (conf->previous) {
        from = copy_previous(conf->previous, ptemp);
        report->seed = from ? STAPLE_CACHE_SEED_MEMORY
                            : STAPLE_CACHE_SEED_NONE;
    }
    else if (old->base) {
        staple_cache_attach(&from, old->base, old->size, ptemp);
        report->seed = STAPLE_CACHE_SEED_FILE;
    }
    rv = make(cache, conf, from, start, report, ptemp);
    if (from) {
        staple_cache_unmap(from);
    }
    return rv;
}

/* ---- Its file. ---- */

static staple_cache_order_t order_of(const staple_cache_t *cache,
                                     const staple_cache_conf_t *conf)
{
    staple_cache_order_t order;

    memset(&order, 0, sizeof(order));
    order.path = cache->path;
    order.bytes = cache->kept.ring.base;
    order.size = cache->length;
    order.on_fork = conf->on_fork;
    return order;
}

/* Have the file made, and hear how that went.
 * @return false: that is not known yet */
static int settle_in_file(staple_cache_t *cache,
                          const staple_cache_conf_t *conf,
                          const staple_cache_order_t *order,
                          staple_cache_answer_t *answer)
{
    apr_status_t rv;

    if (!conf->patience) {
        staple_cache_help(&cache->kept, order, answer);
        return 1;
    }
    rv = staple_cache_start_helper(&cache->kept, order);
    if (rv) {
        memset(answer, 0, sizeof(*answer));
        apr_strerror(rv, answer->failure, sizeof(answer->failure));
        return 1;
    }
    return staple_cache_hear_helper(&cache->kept, conf->patience, answer);
}

/* An empty text is none. */
static const char *text_of(const char *text, apr_pool_t *p)
{
    return *text ? apr_pstrdup(p, text) : NULL;
}

static void make_first_file(staple_cache_t *cache,
                            const staple_cache_conf_t *conf,
                            const staple_cache_found_t *old,
                            staple_cache_report_t *report, apr_pool_t *p)
{
    staple_cache_order_t order = order_of(cache, conf);
    staple_cache_answer_t answer;
    apr_status_t rv = staple_cache_open_channel(&cache->kept);

    if (rv) {
        report->new_file = staple_text_error(rv, p);
        return;
    }
    order.is_start = 1;
    order.before = conf->previous;
    order.broken = old->what == STAPLE_CACHE_FOUND_BROKEN ? old->why : NULL;
    report->is_late = !settle_in_file(cache, conf, &order, &answer);
    if (report->is_late) {
        return;
    }
    report->new_file = text_of(answer.failure, p);
    if (*answer.found) {
        report->old_file = text_of(answer.found, p);
    }
}

/* A helper that has been at work for so long waits for its file system. */
#define LATE_SPAN apr_time_from_sec(5)

/* Whether the thread that copies has no file, and has looked since the last
 * one was to be made. */
static int is_lacking(const staple_cache_t *cache)
{
    const header_t *header = cache->header;

    return word_get(&header->copy_status) == (apr_uint64_t)APR_ENOENT
           && (apr_time_t)word_get(&header->copy_round) > cache->kept.helped;
}

static staple_cache_file_e outcome_of(const staple_cache_answer_t *answer,
                                      staple_cache_report_t *report,
                                      apr_pool_t *p)
{
    report->old_file = answer->is_aside ? text_of(answer->found, p) : NULL;
    report->new_file = text_of(answer->failure, p);
    return report->new_file ? STAPLE_CACHE_FILE_LOST : STAPLE_CACHE_FILE_MADE;
}

/* One is at work since before. */
static staple_cache_file_e ask_again(staple_cache_t *cache,
                                     staple_cache_report_t *report,
                                     apr_pool_t *p)
{
    staple_cache_answer_t answer;

    if (staple_cache_hear_helper(&cache->kept, 0, &answer)) {
        return outcome_of(&answer, report, p);
    }
    return staple_clock_now() - cache->kept.helped > LATE_SPAN
           ? STAPLE_CACHE_FILE_LATE : STAPLE_CACHE_FILE_FINE;
}

staple_cache_file_e staple_cache_check_file(staple_cache_t *cache,
                                            const staple_cache_conf_t *conf,
                                            staple_cache_report_t *report,
                                            apr_pool_t *p)
{
    staple_cache_order_t order;
    staple_cache_answer_t answer;

    memset(report, 0, sizeof(*report));
    if (cache->kept.helper) {
        return ask_again(cache, report, p);
    }
    if (cache->kept.channel[0] < 0 || !is_lacking(cache)) {
        return STAPLE_CACHE_FILE_FINE;
    }
    order = order_of(cache, conf);
    return settle_in_file(cache, conf, &order, &answer)
           ? outcome_of(&answer, report, p) : STAPLE_CACHE_FILE_FINE;
}

/* ---- The whole. ---- */

static staple_cache_t *make_cache(const staple_cache_conf_t *conf,
                                  apr_pool_t *p)
{
    staple_cache_t *cache = apr_pcalloc(p, sizeof(*cache));

    staple_cache_keep_nothing(&cache->kept);
    cache->file = -1;
    cache->path = apr_pstrdup(p, conf->path);
    return cache;
}

apr_status_t staple_cache_create_at(staple_cache_t **cache,
                                    const staple_cache_conf_t *conf,
                                    staple_cache_report_t *report,
                                    apr_uint64_t start, apr_pool_t *p)
{
    staple_cache_found_t old;
    apr_pool_t *ptemp;
    apr_status_t rv;

    memset(report, 0, sizeof(*report));
    rv = apr_pool_create(&ptemp, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *cache = make_cache(conf, p);
    old = find_file(conf, report, p);
    rv = make_from(*cache, conf, &old, start, report, ptemp);
    if (rv == APR_SUCCESS && conf->path) {
        make_first_file(*cache, conf, &old, report, p);
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
