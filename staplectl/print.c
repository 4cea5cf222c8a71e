/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: entries as text for people and as JSON for programs.
 *
 * The one idea: both are made from the same entries, and whatever a
 * certificate or a responder wrote has been made printable before it gets
 * here, so neither a terminal nor a parser can be fooled.
 */

#include "staplectl.h"

#include <stdio.h>

#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "staple_words.h"

/* Goes up when members of the JSON change their meaning or go away. */
#define JSON_VERSION 1

/* Bytes of an id that are shown: mod_ssl's are SHA-1 fingerprints. */
#define ID_LEN 20

/* ----- words ----- */

const char *staplectl_time_text(apr_time_t t, apr_pool_t *p)
{
    return t ? staple_refresh_time_text(t, p) : "never";
}

const char *staplectl_span_text(apr_interval_time_t span, apr_pool_t *p)
{
    apr_int64_t s = apr_time_sec(span);

    if (s < 120) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT "s", s);
    }
    if (s < 7200) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT "min", s / 60);
    }
    return s < 86400
           ? apr_psprintf(p, "%" APR_INT64_T_FMT "h %" APR_INT64_T_FMT "min",
                          s / 3600, s % 3600 / 60)
           : apr_psprintf(p, "%" APR_INT64_T_FMT "d %" APR_INT64_T_FMT "h",
                          s / 86400, s % 86400 / 3600);
}

static const char *id_text(const unsigned char *id, apr_pool_t *p)
{
    char *text = apr_palloc(p, 3 * ID_LEN);
    int i;

    for (i = 0; i < ID_LEN; i++) {
        apr_snprintf(text + 3 * i, 4, "%02X:", id[i]);
    }
    text[3 * ID_LEN - 1] = '\0';
    return text;
}

/* ----- text ----- */

static const char *until_text(const staplectl_entry_t *entry, apr_time_t now,
                              apr_pool_t *p)
{
    if (!entry->der) {
        return "-";
    }
    return entry->until > now
           ? apr_pstrcat(p, "for ", staplectl_span_text(entry->until - now, p),
                         NULL)
           : apr_pstrcat(p, "ended ",
                         staplectl_span_text(now - entry->until, p), " ago",
                         NULL);
}

static const char *last_text(const staplectl_entry_t *entry, apr_time_t now,
                             apr_pool_t *p)
{
    const staple_cache_state_t *state = &entry->state;

    if (!entry->has_state || !state->last_attempt) {
        return "never asked";
    }
    return apr_psprintf(p, "%s ago: %s",
                        staplectl_span_text(now > state->last_attempt
                                            ? now - state->last_attempt : 0,
                                            p),
                        staple_refresh_outcome_text(state, p));
}

static void print_share(const staple_cache_share_t *share, apr_pool_t *p)
{
    printf("share: %" APR_UINT64_T_FMT " found, %" APR_UINT64_T_FMT " not "
           "found, %" APR_UINT64_T_FMT " not ours, %" APR_UINT64_T_FMT
           " given, %" APR_UINT64_T_FMT " not given, %" APR_UINT64_T_FMT
           " not answered, %" APR_UINT64_T_FMT " errors; %s since %s\n",
           share->hits, share->misses, share->odd, share->stored,
           share->dropped, share->unanswered, share->errors,
           share->is_silent ? "silent" : "in use",
           staplectl_time_text(share->since, p));
}

void staplectl_print_list(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries, apr_time_t now,
                          apr_pool_t *p)
{
    int i;

    printf("%-9s %-15s %-34s %s\n", "VERDICT", "VALID", "CERTIFICATE",
           "LAST EXCHANGE");
    for (i = 0; i < entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(entries, i, staplectl_entry_t);

        printf("%-9s %-15s %-34s %s\n",
               staplectl_verdict_word(entry->verdict),
               until_text(entry, now, p), staplectl_entry_name(entry, p),
               last_text(entry, now, p));
    }
    printf("%d certificate%s of %d; %" APR_SIZE_T_FMT " of %" APR_SIZE_T_FMT
           " bytes in use; ring made %s\n", entries->nelts,
           entries->nelts == 1 ? "" : "s", ring->entries->nelts,
           ring->usage.live, ring->usage.data_size,
           staplectl_time_text(ring->usage.created, p));
    if (ring->share.since) {
        print_share(&ring->share, p);
    }
}

static void put(const char *label, const char *value)
{
    printf("%-14s %s\n", label, value);
}

static void put_time(const char *label, apr_time_t t, apr_pool_t *p)
{
    put(label, staplectl_time_text(t, p));
}

static void put_cert(const staple_cert_t *cert, apr_pool_t *p)
{
    const char *urls = apr_array_pstrcat(p, cert->urls, ' ');

    put("subject", cert->subject_dn);
    put("issuer", cert->issuer_dn);
    put_time("ends", cert->not_after, p);
    put("must-staple", cert->is_must_staple ? "yes" : "no");
    put("responders", *urls ? urls : "none");
}

static const char *judgement_text(const staplectl_entry_t *entry,
                                  apr_pool_t *p)
{
    return entry->reason == STAPLE_OCSP_OK
           ? "true, current and about this certificate"
           : apr_pstrcat(p, "the response ",
                         staple_ocsp_reason_text(entry->reason), NULL);
}

static void put_response(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const staplectl_response_t *response = entry->response;

    if (!entry->der) {
        put("response", "none");
        return;
    }
    put("response", apr_psprintf(p, "%s, %" APR_SIZE_T_FMT " bytes",
                                 staple_ocsp_status_text(
                                     (staple_ocsp_status_e)
                                     entry->meta.status),
                                 entry->der_len));
    if (entry->is_judged) {
        put("judgement", judgement_text(entry, p));
    }
    put_time("this update", entry->meta.this_update, p);
    put_time("next update", entry->meta.next_update, p);
    put_time("served until", entry->until, p);
    if (!response) {
        return;
    }
    put_time("produced", response->produced_at, p);
    put("responder", response->responder);
    put("signed with", response->algorithm);
    if (response->revoked_at) {
        put_time("revoked", response->revoked_at, p);
        put("reason", staple_ocsp_crl_reason_text(response->crl_reason));
    }
}

/* Which URL was asked, as far as the certificate says what they are. */
static const char *url_text(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const staple_cache_state_t *state = &entry->state;
    const char *url = entry->cert
                      ? staple_refresh_url(state, entry->cert->urls) : NULL;
    int number = staple_refresh_url_number(state);

    return url ? url
           : number ? apr_psprintf(p, "number %d of its URLs", number)
           : "none";
}

static void put_state(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const staple_cache_state_t *state = &entry->state;
    const char *peer = staple_refresh_peer_text(state, p);
    const char *phases = staple_refresh_phases_text(state, p);

    if (!entry->has_state) {
        return;
    }
    if (entry->der) {
        put_time("fetched", entry->meta.fetched_at, p);
    }
    put_time("last exchange", state->last_attempt, p);
    put("  with", *peer ? peer : "nobody");
    put("  responder", url_text(entry, p));
    put("  took", *phases ? phases : "-");
    put("  outcome", staple_refresh_outcome_text(state, p));
    put_time("last success", state->last_success, p);
    put_time("next attempt", state->next_due, p);
    put("attempts", apr_psprintf(p, "%u, of which %u failed, the last %u in a "
                                 "row", (unsigned)state->attempts,
                                 (unsigned)state->failures,
                                 (unsigned)state->failing));
}

void staplectl_print_entry(const staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p)
{
    const char *serial = staplectl_entry_serial(entry);

    put("certificate", staplectl_entry_name(entry, p));
    if (*entry->host) {
        put("virtual host", entry->host);
    }
    put("verdict", apr_pstrcat(p, staplectl_verdict_word(entry->verdict), ", ",
                               until_text(entry, now, p), NULL));
    put("serial", *serial ? serial : "not known");
    put("fingerprint", apr_pstrcat(p, "SHA-1 ", id_text(entry->id, p), NULL));
    if (entry->cert) {
        put_cert(entry->cert, p);
    }
    put_response(entry, p);
    put_state(entry, p);
}

/* A terminal obeys control characters, so none gets there. */
static void put_lines(const char *text, long len)
{
    long i;

    for (i = 0; i < len; i++) {
        putchar(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~')
                ? text[i] : '?');
    }
}

void staplectl_print_response(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const unsigned char *der = entry->der;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &der,
                                                (long)entry->der_len);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long len;

    (void)p;
    if (response && bio && OCSP_RESPONSE_print(bio, response, 0)) {
        len = BIO_get_mem_data(bio, &data);
        put_lines(data, len);
    }
    BIO_free(bio);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
}

/* ----- JSON ----- */

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

static void put_moment(const char *name, apr_time_t t)
{
    apr_time_exp_t at;
    apr_size_t len;
    char text[32];

    if (!t || apr_time_exp_gmt(&at, t) != APR_SUCCESS) {
        printf(",\"%s\":null", name);
        return;
    }
    apr_strftime(text, &len, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &at);
    put_member(name, text);
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

static void json_cert(const staple_cert_t *cert)
{
    put_member("name", cert->name);
    put_member("subject", cert->subject_dn);
    put_member("issuer", cert->issuer_dn);
    put_moment("not_after", cert->not_after);
    printf(",\"must_staple\":%s", yes_no(cert->is_must_staple));
    put_list("responders", cert->urls);
}

static void json_response(const staplectl_entry_t *entry, apr_pool_t *p)
{
    printf(",\"response\":{\"bytes\":%" APR_SIZE_T_FMT, entry->der_len);
    put_member("status", staple_ocsp_status_text(
                             (staple_ocsp_status_e)entry->meta.status));
    if (entry->is_judged) {
        put_member("judgement", judgement_text(entry, p));
    }
    put_moment("this_update", entry->meta.this_update);
    put_moment("next_update", entry->meta.next_update);
    put_moment("served_until", entry->until);
    put_moment("fetched", entry->meta.fetched_at);
    if (entry->response) {
        put_moment("produced", entry->response->produced_at);
        put_member("responder", entry->response->responder);
        put_member("signature", entry->response->algorithm);
        put_moment("revoked", entry->response->revoked_at);
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
    staple_refresh_phases_t phases;
    const char *url = entry->cert
                      ? staple_refresh_url(state, entry->cert->urls) : NULL;

    put_member("peer", staple_refresh_peer_text(state, p));
    put_member("outcome", staple_refresh_outcome_text(state, p));
    if (url) {
        put_member("url", url);
    }
    printf(",\"url_number\":%d", staple_refresh_url_number(state));
    staple_refresh_phases(state, &phases);
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
    put_moment("last_attempt", state->last_attempt);
    put_moment("last_success", state->last_success);
    put_moment("next_due", state->next_due);
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

    printf("{\"id\":\"%s\"", id_text(entry->id, p));
    put_member("verdict", staplectl_verdict_word(entry->verdict));
    put_member("severity",
               severities[staplectl_check(entry, limits, now, &words, p)]);
    put_member("explanation", words);
    put_member("serial", staplectl_entry_serial(entry));
    if (*entry->host) {
        put_member("host", entry->host);
    }
    if (entry->cert) {
        json_cert(entry->cert);
    }
    if (entry->der) {
        json_response(entry, p);
    }
    if (entry->has_state) {
        json_state(entry, p);
    }
    putchar('}');
}

static void json_share(const staple_cache_share_t *share)
{
    printf(",\"share\":{\"hits\":%" APR_UINT64_T_FMT ",\"misses\":%"
           APR_UINT64_T_FMT ",\"odd\":%" APR_UINT64_T_FMT ",\"stored\":%"
           APR_UINT64_T_FMT ",\"dropped\":%" APR_UINT64_T_FMT
           ",\"unanswered\":%" APR_UINT64_T_FMT ",\"errors\":%"
           APR_UINT64_T_FMT ",\"silent\":%s", share->hits, share->misses,
           share->odd, share->stored, share->dropped, share->unanswered,
           share->errors, yes_no(share->is_silent));
    put_moment("since", share->since);
    put_moment("last_error", share->last_error);
    putchar('}');
}

static void json_ring(const staplectl_ring_t *ring)
{
    const staple_cache_usage_t *usage = &ring->usage;

    printf(",\"ring\":{\"bytes\":%" APR_SIZE_T_FMT ",\"data_bytes\":%"
           APR_SIZE_T_FMT ",\"live_bytes\":%" APR_SIZE_T_FMT ",\"responses\":%"
           APR_SIZE_T_FMT ",\"certificates\":%d,\"generation\":%"
           APR_UINT64_T_FMT, usage->size, usage->data_size, usage->live,
           usage->records, ring->entries->nelts, usage->generation);
    put_moment("created", usage->created);
    put_member("path", ring->path);
    if (ring->share.since) {
        json_share(&ring->share);
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
    put_moment("time", now);
    if (ring) {
        json_ring(ring);
    }
    printf(",\"certificates\":[");
    for (i = 0; i < entries->nelts; i++) {
        fputs(i ? ",\n" : "\n", stdout);
        json_entry(&APR_ARRAY_IDX(entries, i, staplectl_entry_t), limits, now,
                   p);
    }
    printf("]}\n");
}
