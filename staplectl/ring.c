/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: a ring file becomes entries.
 *
 * The one idea: a ring knows its certificates by id, which is the SHA-1
 * fingerprint, and by the name of their first virtual host; it knows whether
 * they are must-staple, and why some have no response at all. Whoever wants
 * their other names and a judgement gives the certificate files; without them
 * an entry still has its response, and that says the serial, the times and the
 * status.
 *
 * Reading a ring takes a copy of the file, so what the server overwrites at
 * that moment is missing in the copy. Such a copy is taken again.
 */

#include "staplectl.h"

#include <string.h>

#include <apr_file_info.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "staple_text.h"

/* How often a file is read before what is missing is taken to be missing. */
#define TRIES 3

static void read_slot(const staple_cache_t *cache, int slot,
                      staple_view_t *view, apr_pool_t *p)
{
    static unsigned char buf[STAPLE_CACHE_DER_MAX];
    apr_status_t rv = staple_cache_read(cache, slot, buf, STAPLE_CACHE_DER_MAX,
                                        &view->der_len, &view->meta);

    if (rv) {
        rv = staple_cache_read_pending(cache, slot, buf, STAPLE_CACHE_DER_MAX,
                                       &view->der_len, &view->meta);
        view->is_pending = !rv;
    }
    if (!rv) {
        view->der = apr_pmemdup(p, buf, view->der_len);
    }
    staple_cache_state(cache, slot, &view->exchange);
    staple_cache_served(cache, slot, &view->served);
    view->has_exchange = 1;
}

static int is_listed(const staple_cache_t *cache, const unsigned char *id)
{
    staple_cache_other_t other;
    apr_size_t i;

    for (i = 0; i < staple_cache_others(cache); i++) {
        staple_cache_other(cache, i, &other);
        if (!memcmp(other.id, id, STAPLE_ID_LEN)) {
            return 1;
        }
    }
    return 0;
}

const char *staplectl_no_ring(apr_status_t rv, const char *path,
                              const char *reason, apr_pool_t *p)
{
    return APR_STATUS_IS_ENOENT(rv)
           ? apr_pstrcat(p, path, " does not exist: a server makes it when it "
                         "starts and has a certificate that can be stapled; to "
                         "see which of them can, and why others cannot, run: "
                         "httpd -t -D DUMP_STAPLING (Debian: apache2ctl -t -D "
                         "DUMP_STAPLING)", NULL)
           : apr_pstrcat(p, path, " ", reason, NULL);
}

/* Certificates that were given and that the server does not know.
 * @param cache NULL: there is no ring */
static void add_strangers(apr_array_header_t *entries,
                          const staple_cache_t *cache,
                          const staplectl_certs_t *certs, apr_time_t now,
                          apr_pool_t *p)
{
    const apr_array_header_t *leaves = staplectl_certs_leaves(certs);
    int i;

    for (i = 0; i < leaves->nelts; i++) {
        const staplectl_leaf_t *leaf = &APR_ARRAY_IDX(leaves, i,
                                                      staplectl_leaf_t);

        if (!cache || (staple_cache_find(cache, leaf->cert->id) < 0
                       && !is_listed(cache, leaf->cert->id))) {
            staplectl_entry_t *entry = staplectl_entry_push(entries);

            staplectl_entry_set_cert(entry, leaf);
            entry->view.absence = cache
                ? "the server does not know the certificate"
                : "there is no ring: a server makes it when it starts";
            staplectl_entry_judge(entry, now, p);
        }
    }
}

/* Say who it is, as far as the ring or the files that were given know. */
static void identify(staplectl_entry_t *entry, const unsigned char *id,
                     const staple_cache_about_t *about,
                     const staplectl_certs_t *certs, apr_pool_t *p)
{
    const staplectl_leaf_t *leaf = staplectl_certs_find(certs, id);

    if (leaf) {
        staplectl_entry_set_cert(entry, leaf);
    }
    staple_state_unpack(&entry->view.traits, about);
    entry->view.id = apr_pmemdup(p, id, STAPLE_ID_LEN);
    entry->view.host = staple_text_printable(about->name, strlen(about->name),
                                             STAPLE_CACHE_NAME_LEN, p);
}

static void add_slot(apr_array_header_t *entries, const staple_cache_t *cache,
                     int slot, const staplectl_certs_t *certs, apr_pool_t *p)
{
    staplectl_entry_t *entry = staplectl_entry_push(entries);
    const unsigned char *id = staple_cache_id(cache, slot);
    staple_cache_about_t about;

    staple_cache_about(cache, slot, &about);
    identify(entry, id, &about, certs, p);
    read_slot(cache, slot, &entry->view, p);
}

/* A certificate that the server knows and that has no slot. What is listed and
 * of which nothing is known is an issuer that had no room. */
static void add_other(apr_array_header_t *entries, const staple_cache_t *cache,
                      apr_size_t i, const staplectl_certs_t *certs,
                      apr_time_t now, apr_pool_t *p)
{
    staple_cache_other_t other;
    staplectl_entry_t *entry;

    staple_cache_other(cache, i, &other);
    if (!other.about.traits) {
        return;
    }
    entry = staplectl_entry_push(entries);
    identify(entry, other.id, &other.about, certs, p);
    entry->view.has_slot = 0;
    entry->view.has_exchange = 1;
    staplectl_entry_judge(entry, now, p);
}

static apr_time_t written_at(const char *path, apr_pool_t *p)
{
    apr_finfo_t info;

    return apr_stat(&info, path, APR_FINFO_MTIME, p) ? 0 : info.mtime;
}

/* What the ring says of itself and of all its certificates.
 * @param cache NULL: there is no ring */
static void sum_up(staplectl_ring_t *ring, const staple_cache_t *cache,
                   apr_time_t now, apr_pool_t *p)
{
    staple_report_t *report = &ring->report;
    int i;

    staple_report_start(report, "ring", now, p);
    if (cache) {
        report->ring_path = ring->path;
        report->ring_written = written_at(ring->path, p);
        staple_report_add_ring(report, cache);
    }
    if (ring->share.since) {
        staple_report_add_share(report, "in use", &ring->share, p);
    }
    for (i = 0; i < ring->entries->nelts; i++) {
        staple_report_add(report, &APR_ARRAY_IDX(ring->entries, i,
                                                 staplectl_entry_t).view, p);
    }
    staple_report_finish(report, p);
}

/* The ids under which issuers are kept that the server has fetched: they are no
 * entries. */
static apr_hash_t *issuer_ids(const staple_cache_t *cache, apr_pool_t *p)
{
    apr_hash_t *ids = apr_hash_make(p);
    int count = (int)staple_cache_count(cache);
    int slot;

    for (slot = 0; slot < count; slot++) {
        unsigned char *id = apr_palloc(p, STAPLE_ID_LEN);

        staple_cert_issuer_id(staple_cache_id(cache, slot), id);
        if (staple_cache_find(cache, id) >= 0) {
            apr_hash_set(ids, id, STAPLE_ID_LEN, id);
        }
    }
    return ids;
}

static staplectl_ring_t *copy_ring(const staple_cache_t *cache,
                                   const staplectl_certs_t *certs,
                                   const char *path, apr_time_t now,
                                   apr_pool_t *p)
{
    staplectl_ring_t *ring = apr_pcalloc(p, sizeof(*ring));
    int count = (int)staple_cache_count(cache);
    apr_hash_t *issuers = issuer_ids(cache, p);
    apr_size_t i;
    int slot;

    ring->path = path;
    staple_cache_share(cache, &ring->share);
    ring->entries = apr_array_make(p, count + 1, sizeof(staplectl_entry_t));
    for (slot = 0; slot < count; slot++) {
        if (!apr_hash_get(issuers, staple_cache_id(cache, slot),
                          STAPLE_ID_LEN)) {
            add_slot(ring->entries, cache, slot, certs, p);
            staplectl_entry_judge(&APR_ARRAY_IDX(ring->entries,
                                                 ring->entries->nelts - 1,
                                                 staplectl_entry_t), now, p);
        }
    }
    for (i = 0; i < staple_cache_others(cache); i++) {
        add_other(ring->entries, cache, i, certs, now, p);
    }
    add_strangers(ring->entries, cache, certs, now, p);
    sum_up(ring, cache, now, p);
    return ring;
}

/* Where there is no ring: what the files that were given say. */
static staplectl_ring_t *without_ring(const staplectl_certs_t *certs,
                                      const char *path, apr_time_t now,
                                      apr_pool_t *p)
{
    staplectl_ring_t *ring = apr_pcalloc(p, sizeof(*ring));

    ring->path = path;
    ring->is_missing = 1;
    ring->entries = apr_array_make(p, 1, sizeof(staplectl_entry_t));
    add_strangers(ring->entries, NULL, certs, now, p);
    sum_up(ring, NULL, now, p);
    return ring;
}

/* A response came once and cannot be read: perhaps it was being replaced. */
static int has_gaps(const staplectl_ring_t *ring)
{
    int i;

    for (i = 0; i < ring->entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(ring->entries, i, staplectl_entry_t);

        if (!entry->view.der && entry->view.exchange.last_success) {
            return 1;
        }
    }
    return 0;
}

const char *staplectl_ring_load(staplectl_ring_t **ring, const char *path,
                                const staplectl_certs_t *certs,
                                apr_time_t now, apr_pool_t *p)
{
    const char *reason;
    staple_cache_t *cache;
    int tries;

    for (tries = 0; tries < TRIES; tries++) {
        apr_status_t rv = staple_cache_open_file(&cache, path, &reason, p);

        if (APR_STATUS_IS_ENOENT(rv)
            && staplectl_certs_leaves(certs)->nelts) {
            *ring = without_ring(certs, path, now, p);
            break;
        }
        if (rv) {
            return staplectl_no_ring(rv, path, reason, p);
        }
        *ring = copy_ring(cache, certs, path, now, p);
        staple_cache_unmap(cache);
        if (!has_gaps(*ring)) {
            break;
        }
    }
    return NULL;
}
