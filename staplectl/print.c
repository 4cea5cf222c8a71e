/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: entries as text for people.
 *
 * The one idea: whatever a certificate or a responder wrote has been made
 * printable before it gets here, so that no terminal can be fooled.
 */

#include "staplectl.h"

#include <stdio.h>

#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "staple_words.h"

static const char *until_text(const staplectl_entry_t *entry, apr_time_t now,
                              apr_pool_t *p)
{
    if (!entry->der) {
        return "-";
    }
    return entry->until > now
           ? apr_pstrcat(p, "for ",
                         staple_words_span_text(entry->until - now, p),
                         NULL)
           : apr_pstrcat(p, "ended ",
                         staple_words_span_text(now - entry->until, p), " ago",
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
                        staple_words_span_text(now > state->last_attempt
                                               ? now - state->last_attempt : 0,
                                               p),
                        staple_words_outcome_text(state, p));
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
           " bytes in use; ring made %s, written %s\n", entries->nelts,
           entries->nelts == 1 ? "" : "s", ring->entries->nelts,
           ring->usage.live, ring->usage.data_size,
           staplectl_time_text(ring->usage.created, p),
           staplectl_time_text(ring->written, p));
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
        put("judgement", staplectl_judgement_text(entry, p));
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
                      ? staple_words_url(state, entry->cert->urls) : NULL;
    int number = staple_words_url_number(state);

    return url ? url
           : number ? apr_psprintf(p, "number %d of its URLs", number)
           : "none";
}

static void put_state(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const staple_cache_state_t *state = &entry->state;
    const char *peer = staple_words_peer_text(state, p);
    const char *phases = staple_words_phases_text(state, p);

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
    put("  outcome", staple_words_outcome_text(state, p));
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
    put("fingerprint", apr_pstrcat(p, "SHA-1 ", staplectl_id_text(entry->id, p),
                                   NULL));
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
