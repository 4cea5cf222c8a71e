/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: entries as JSON for programs.
 */

#include "staplectl.h"

#include <stdio.h>

#include <apr_strings.h>

#include "staple_words.h"

/* Goes up when members of the JSON change their meaning or go away. */
#define JSON_VERSION 1

/* All strings are printable ASCII; two of those need an escape. */
static void put_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text >= ' ' && *text <= '~' ? *text : '?');
    }
    putchar('"');
}

static void put_member(const char *name, const char *value)
{
    printf(",\"%s\":", name);
    put_string(value);
}

static void put_moment(const char *name, apr_time_t t, apr_pool_t *p)
{
    const char *text = staple_words_iso_text(t, p);

    if (text) {
        put_member(name, text);
    }
    else {
        printf(",\"%s\":null", name);
    }
}

static void put_list(const char *name, const apr_array_header_t *list)
{
    int i;

    printf(",\"%s\":[", name);
    for (i = 0; i < list->nelts; i++) {
        fputs(i ? "," : "", stdout);
        put_string(APR_ARRAY_IDX(list, i, const char *));
    }
    putchar(']');
}

static const char *yes_no(int value)
{
    return value ? "true" : "false";
}

static void json_cert(const staple_cert_t *cert, apr_pool_t *p)
{
    put_member("name", cert->name);
    put_member("subject", cert->subject_dn);
    put_member("issuer", cert->issuer_dn);
    put_moment("not_after", cert->not_after, p);
    printf(",\"must_staple\":%s", yes_no(cert->is_must_staple));
    put_list("responders", cert->urls);
}

static void json_response(const staplectl_entry_t *entry, apr_pool_t *p)
{
    printf(",\"response\":{\"bytes\":%" APR_SIZE_T_FMT, entry->der_len);
    put_member("status", staple_ocsp_status_text(
                             (staple_ocsp_status_e)entry->meta.status));
    if (entry->is_judged) {
        put_member("judgement", staplectl_judgement_text(entry, p));
    }
    put_moment("this_update", entry->meta.this_update, p);
    put_moment("next_update", entry->meta.next_update, p);
    put_moment("served_until", entry->until, p);
    put_moment("fetched", entry->meta.fetched_at, p);
    if (entry->response) {
        put_moment("produced", entry->response->produced_at, p);
        put_member("responder", entry->response->responder);
        put_member("signature", entry->response->algorithm);
        put_moment("revoked", entry->response->revoked_at, p);
        if (entry->response->revoked_at) {
            put_member("reason", staple_ocsp_crl_reason_text(
                                     entry->response->crl_reason));
        }
    }
    putchar('}');
}

/* Seconds, or null. */
static void put_seconds(const char *name, apr_interval_time_t span)
{
    if (span < 0) {
        printf(",\"%s\":null", name);
        return;
    }
    printf(",\"%s\":%" APR_TIME_T_FMT ".%03d", name, apr_time_sec(span),
           (int)apr_time_msec(span));
}

static void json_exchange(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const staple_cache_state_t *state = &entry->state;
    staple_words_phases_t phases;
    const char *url = entry->cert
                      ? staple_words_url(state, entry->cert->urls) : NULL;

    put_member("peer", staple_words_peer_text(state, p));
    put_member("outcome", staple_words_outcome_text(state, p));
    if (url) {
        put_member("url", url);
    }
    printf(",\"url_number\":%d", staple_words_url_number(state));
    staple_words_phases(state, &phases);
    put_seconds("resolve_took", phases.resolve);
    put_seconds("connect_took", phases.connect);
    put_seconds("wait_took", phases.wait);
}

static void json_state(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const staple_cache_state_t *state = &entry->state;

    printf(",\"refresh\":{\"attempts\":%u,\"failures\":%u,\"failing\":%u",
           (unsigned)state->attempts, (unsigned)state->failures,
           (unsigned)state->failing);
    put_moment("last_attempt", state->last_attempt, p);
    put_moment("last_success", state->last_success, p);
    put_moment("next_due", state->next_due, p);
    json_exchange(entry, p);
    putchar('}');
}

static void json_entry(const staplectl_entry_t *entry,
                       const staplectl_limits_t *limits, apr_time_t now,
                       apr_pool_t *p)
{
    static const char *const severities[] = { "ok", "warning", "critical",
                                              "unknown" };
    const char *words;

    printf("{\"id\":\"%s\"", staplectl_id_text(entry->id, p));
    put_member("verdict", staplectl_verdict_word(entry->verdict));
    put_member("severity",
               severities[staplectl_check(entry, limits, now, &words, p)]);
    put_member("explanation", words);
    put_member("serial", staplectl_entry_serial(entry));
    if (*entry->host) {
        put_member("host", entry->host);
    }
    if (entry->cert) {
        json_cert(entry->cert, p);
    }
    if (entry->der) {
        json_response(entry, p);
    }
    if (entry->has_state) {
        json_state(entry, p);
    }
    putchar('}');
}

static void json_share(const staple_cache_share_t *share, apr_pool_t *p)
{
    printf(",\"share\":{\"hits\":%" APR_UINT64_T_FMT ",\"misses\":%"
           APR_UINT64_T_FMT ",\"odd\":%" APR_UINT64_T_FMT ",\"stored\":%"
           APR_UINT64_T_FMT ",\"dropped\":%" APR_UINT64_T_FMT
           ",\"unanswered\":%" APR_UINT64_T_FMT ",\"errors\":%"
           APR_UINT64_T_FMT ",\"silent\":%s", share->hits, share->misses,
           share->odd, share->stored, share->dropped, share->unanswered,
           share->errors, yes_no(share->is_silent));
    put_moment("since", share->since, p);
    put_moment("last_error", share->last_error, p);
    putchar('}');
}

static void json_ring(const staplectl_ring_t *ring, apr_pool_t *p)
{
    const staple_cache_usage_t *usage = &ring->usage;

    printf(",\"ring\":{\"bytes\":%" APR_SIZE_T_FMT ",\"data_bytes\":%"
           APR_SIZE_T_FMT ",\"live_bytes\":%" APR_SIZE_T_FMT ",\"responses\":%"
           APR_SIZE_T_FMT ",\"certificates\":%d,\"generation\":%"
           APR_UINT64_T_FMT, usage->size, usage->data_size, usage->live,
           usage->records, ring->entries->nelts, usage->generation);
    put_moment("created", usage->created, p);
    put_moment("written", ring->written, p);
    put_member("path", ring->path);
    if (ring->share.since) {
        json_share(&ring->share, p);
    }
    putchar('}');
}

void staplectl_print_json(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries,
                          const staplectl_limits_t *limits, apr_time_t now,
                          apr_pool_t *p)
{
    int i;

    printf("{\"version\":%d", JSON_VERSION);
    put_moment("time", now, p);
    if (ring) {
        json_ring(ring, p);
    }
    printf(",\"certificates\":[");
    for (i = 0; i < entries->nelts; i++) {
        fputs(i ? ",\n" : "\n", stdout);
        json_entry(&APR_ARRAY_IDX(entries, i, staplectl_entry_t), limits, now,
                   p);
    }
    printf("]}\n");
}
