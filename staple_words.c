/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How the last exchange of a certificate went: written into 40 bytes of its
 * state, and read out of them in words.
 *
 * The one idea: what is kept is small and fixed, because it lies in the ring
 * for each certificate: an address rather than its text, milliseconds, and of
 * a URL its place in the certificate's list and a mark to know it again. What
 * is read may come from any file, so every value has words.
 */

#include "staple_words.h"

#include <string.h>
#include <netinet/in.h>

#include <apr_strings.h>

#include "staple_address.h"

/* A phase that did not end, and the longest that is told apart. */
#define NOT_ENDED 0xffff
#define LONGEST 0xfffe

/* No URL was asked. */
#define NO_URL 0xffff

/* ----- what is noted ----- */

static apr_uint16_t pack_verdict(const staple_ocsp_verdict_t *verdict)
{
    return (apr_uint16_t)((unsigned)verdict->reason << 4
                          | (unsigned)verdict->status);
}

static apr_uint16_t pack_span(apr_interval_time_t span)
{
    apr_interval_time_t ms = span / 1000;

    if (span < 0) {
        return NOT_ENDED;
    }
    return ms > LONGEST ? LONGEST : (apr_uint16_t)ms;
}

/* A checksum of a URL: one that takes the place of another in the directives
 * is not taken for it. */
static apr_uint16_t mark_of(const char *url)
{
    apr_uint32_t sum = 2166136261u; /* FNV-1a */

    for (; *url; url++) {
        sum = (sum ^ (unsigned char)*url) * 16777619u;
    }
    return (apr_uint16_t)(sum >> 16 ^ sum);
}

static void note_peer(staple_cache_state_t *state, const char *peer)
{
    const char *start = peer + (*peer == '[');
    const char *end = strrchr(peer, ':');
    apr_size_t len = end ? (apr_size_t)(end - start) : 0;
    char text[INET6_ADDRSTRLEN + 1];

    state->peer_port = 0;
    memset(state->peer, 0, sizeof(state->peer));
    if (!len || len >= sizeof(text)) {
        return;
    }
    apr_cpystrn(text, start, len + (*peer != '['));
    if (staple_address_read(state->peer, text)) {
        state->peer_port = (apr_uint16_t)apr_atoi64(end + 1);
    }
}

void staple_words_note(staple_cache_state_t *state,
                       const staple_fetch_answer_t *answer,
                       const staple_ocsp_verdict_t *verdict)
{
    state->outcome = (apr_uint16_t)answer->outcome;
    state->detail = answer->outcome == STAPLE_FETCH_REJECTED
                    ? pack_verdict(verdict)
                    : (apr_uint16_t)answer->http_status;
    state->resolve_took = pack_span(answer->resolve_took);
    state->connect_took = pack_span(answer->connect_took);
    state->wait_took = pack_span(answer->wait_took);
    staple_words_note_url(state, answer->url_index, answer->url);
    note_peer(state, answer->peer);
}

void staple_words_note_url(staple_cache_state_t *state, int index,
                           const char *url)
{
    state->url_index = (apr_uint16_t)index;
    state->url_mark = mark_of(url);
}

void staple_words_note_shared(staple_cache_state_t *state)
{
    state->outcome = STAPLE_FETCH_OK;
    state->detail = 0;
    state->resolve_took = state->connect_took = state->wait_took = NOT_ENDED;
    state->url_index = NO_URL;
    state->url_mark = 0;
    note_peer(state, "");
}

/* The lowest bit says what is so since then, so both change as one. */
void staple_words_note_since(staple_cache_state_t *state, int needs_attention,
                             apr_time_t now)
{
    apr_uint64_t bit = needs_attention ? 1 : 0;

    if (!state->since || (state->since & 1) != bit) {
        state->since = (apr_uint64_t)now << 1 | bit;
    }
}

apr_time_t staple_words_since(const staple_cache_state_t *state,
                              int needs_attention)
{
    return (state->since & 1) == (needs_attention ? 1 : 0)
           ? (apr_time_t)(state->since >> 1) : 0;
}

/* ----- what is said ----- */

int staple_words_reason(const staple_cache_state_t *state)
{
    return state->detail >> 4;
}

const char *staple_words_rejection_text(int reason, int status)
{
    if (reason != STAPLE_OCSP_OK) {
        return staple_ocsp_reason_text((staple_ocsp_reason_e)reason);
    }
    return status == STAPLE_OCSP_UNKNOWN
           ? "says that it does not know the certificate" : "is fine";
}

const char *staple_words_outcome_text(const staple_cache_state_t *state,
                                      apr_pool_t *p)
{
    if (!state->last_attempt) {
        return "none yet";
    }
    switch (state->outcome) {
    case STAPLE_FETCH_REJECTED:
        return apr_pstrcat(p, "the response ",
                           staple_words_rejection_text(
                               staple_words_reason(state),
                               state->detail & 15), NULL);
    case STAPLE_FETCH_HTTP_STATUS:
        return apr_psprintf(p, "HTTP status %d", state->detail);
    case STAPLE_FETCH_TIMEOUT:
        return state->wait_took == NOT_ENDED ? "no answer in time"
                                             : "no whole answer in time";
    case STAPLE_FETCH_OK:
        if (state->url_index == NO_URL) {
            return "found in the share";
        }
        /* fall through */
    default:
        return staple_fetch_outcome_text(
            (staple_fetch_outcome_e)state->outcome);
    }
}

const char *staple_words_peer_text(const staple_cache_state_t *state,
                                   apr_pool_t *p)
{
    const char *text = staple_address_text(state->peer, p);
    unsigned int port = state->peer_port;

    if (!port) {
        return "";
    }
    return apr_psprintf(p, staple_address_is_ipv4(state->peer) ? "%s:%u"
                                                               : "[%s]:%u",
                        text, port);
}

const char *staple_words_url(const staple_cache_state_t *state,
                             const apr_array_header_t *urls)
{
    const char *url;

    if (!state->last_attempt || state->url_index >= urls->nelts) {
        return NULL;
    }
    url = APR_ARRAY_IDX(urls, state->url_index, const char *);
    return mark_of(url) == state->url_mark ? url : NULL;
}

int staple_words_url_number(const staple_cache_state_t *state)
{
    return !state->last_attempt || state->url_index == NO_URL
           ? 0 : state->url_index + 1;
}

static apr_interval_time_t unpack_span(const staple_cache_state_t *state,
                                       apr_uint16_t ms)
{
    return !state->last_attempt || ms == NOT_ENDED
           ? -1 : apr_time_from_msec(ms);
}

void staple_words_phases(const staple_cache_state_t *state,
                         staple_words_phases_t *phases)
{
    phases->resolve = unpack_span(state, state->resolve_took);
    phases->connect = unpack_span(state, state->connect_took);
    phases->wait = unpack_span(state, state->wait_took);
}

const char *staple_words_phases_text(const staple_cache_state_t *state,
                                     apr_pool_t *p)
{
    staple_words_phases_t phases;

    if (!staple_words_url_number(state)) {
        return "";
    }
    staple_words_phases(state, &phases);
    return apr_pstrcat(p, "resolve ",
                       staple_words_span_text(phases.resolve, p),
                       ", connect ",
                       staple_words_span_text(phases.connect, p),
                       ", wait ", staple_words_span_text(phases.wait, p),
                       NULL);
}

/* ----- moments and spans ----- */

static const char *format(apr_time_t t, const char *how, apr_pool_t *p)
{
    apr_time_exp_t at;
    char text[40];
    apr_size_t len;

    if (!t || apr_time_exp_gmt(&at, t)
        || apr_strftime(text, &len, sizeof(text), how, &at)) {
        return NULL;
    }
    return apr_pstrdup(p, text);
}

const char *staple_words_time_text(apr_time_t t, apr_pool_t *p)
{
    return format(t, "%Y-%m-%d %H:%M:%S UTC", p);
}

const char *staple_words_iso_text(apr_time_t t, apr_pool_t *p)
{
    return format(t, "%Y-%m-%dT%H:%M:%SZ", p);
}

const char *staple_words_date_text(apr_time_t t, apr_pool_t *p)
{
    return format(t, "%Y-%m-%d", p);
}

/* Less than a minute, to the tenth of a second below ten seconds. */
static const char *seconds_text(int ms, apr_pool_t *p)
{
    if (ms < 1000) {
        return apr_psprintf(p, "%d ms", ms);
    }
    return ms < 10000 ? apr_psprintf(p, "%d.%d s", ms / 1000, ms % 1000 / 100)
                      : apr_psprintf(p, "%d s", ms / 1000);
}

const char *staple_words_span_text(apr_interval_time_t span, apr_pool_t *p)
{
    apr_int64_t minutes = apr_time_sec(span) / 60;
    apr_int64_t hours = minutes / 60;

    if (span < 0) {
        return "-";
    }
    if (!minutes) {
        return seconds_text((int)apr_time_as_msec(span), p);
    }
    if (!hours) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " min", minutes);
    }
    return hours < 24
           ? apr_psprintf(p, "%" APR_INT64_T_FMT " h %d min", hours,
                          (int)(minutes % 60))
           : apr_psprintf(p, "%" APR_INT64_T_FMT " d %d h", hours / 24,
                          (int)(hours % 24));
}

const char *staple_words_when_text(apr_time_t t, apr_pool_t *p)
{
    return t ? staple_words_time_text(t, p) : "never";
}

const char *staple_words_distance_text(apr_time_t t, apr_time_t now,
                                       apr_pool_t *p)
{
    if (!t) {
        return "never";
    }
    if (t - now >= apr_time_from_sec(1)) {
        return apr_pstrcat(p, "in ", staple_words_span_text(t - now, p), NULL);
    }
    if (now - t >= apr_time_from_sec(1)) {
        return apr_pstrcat(p, staple_words_span_text(now - t, p), " ago",
                           NULL);
    }
    return "now";
}
