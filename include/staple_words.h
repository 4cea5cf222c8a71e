/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_WORDS_H
#define STAPLE_WORDS_H

/*
 * What a certificate's state (staple_cache_state_t) says of its last exchange,
 * put in by the refresh and taken out by whoever shows it: the status page in
 * any child, and staplectl from a file that may have been written by anybody.
 *
 * No log, no clock, no httpd: values go in, words come out.
 */

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include "staple_cache.h"
#include "staple_fetch.h"
#include "staple_ocsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Note how an exchange ended, and where it spent its time.
 * @param verdict of the last answer that was judged */
void staple_words_note(staple_cache_state_t *state,
                       const staple_fetch_answer_t *answer,
                       const staple_ocsp_verdict_t *verdict);

/** Note which URL is asked from here on, before it is known how that ends. */
void staple_words_note_url(staple_cache_state_t *state, int index,
                           const char *url);

/** The same for a response that came by way of the share: nobody was asked. */
void staple_words_note_shared(staple_cache_state_t *state);

/** Note whether the certificate needs attention at this moment; since when is
 * kept until that changes. */
void staple_words_note_since(staple_cache_state_t *state, int needs_attention,
                             apr_time_t now);

/** Since when it needs attention, or is well; 0: not known, because the last
 * note says something else. */
apr_time_t staple_words_since(const staple_cache_state_t *state,
                              int needs_attention);

/** The last outcome, in words that finish "the last exchange: ...". */
const char *staple_words_outcome_text(const staple_cache_state_t *state,
                                      apr_pool_t *p);

/** The verdict on an answer that did not help, to finish "the response ...".
 * @param reason staple_ocsp_reason_e
 * @param status staple_ocsp_status_e */
const char *staple_words_rejection_text(int reason, int status);

/** Why the last answer was rejected (staple_ocsp_reason_e), where the outcome
 * is STAPLE_FETCH_REJECTED. */
int staple_words_reason(const staple_cache_state_t *state);

/** The address asked last, "192.0.2.1:80" or "[2001:db8::1]:80"; that of the
 * proxy where there is one; "": nobody was asked. */
const char *staple_words_peer_text(const staple_cache_state_t *state,
                                   apr_pool_t *p);

/**
 * The URL that was asked last: the one that answered, if any did.
 * @param urls const char *, the certificate's, in their order
 * @return one of them; NULL: none was asked, or it is not among them (the
 *         directives say something else today)
 */
const char *staple_words_url(const staple_cache_state_t *state,
                             const apr_array_header_t *urls);

/** Its place, from 1, where the certificate's URLs are not known; 0: none. */
int staple_words_url_number(const staple_cache_state_t *state);

/** How long the phases of the last exchange took, in whole milliseconds; a
 * minute and more may be a little more. */
typedef struct staple_words_phases_t {
    apr_interval_time_t resolve; /* until the addresses were known, */
    apr_interval_time_t connect; /* from there to a connection, */
    apr_interval_time_t wait;    /* and from the request to the first byte;
                                    each -1: it did not end */
} staple_words_phases_t;

void staple_words_phases(const staple_cache_state_t *state,
                         staple_words_phases_t *phases);

/** "resolve 0 ms, connect 1 ms, wait 1.2 s"; "" where nobody was asked. */
const char *staple_words_phases_text(const staple_cache_state_t *state,
                                     apr_pool_t *p);

/* ----- moments and spans ----- */

/** "2026-01-31 12:00:00 UTC", for people; NULL for 0. */
const char *staple_words_time_text(apr_time_t t, apr_pool_t *p);

/** The same; "never" for 0. */
const char *staple_words_when_text(apr_time_t t, apr_pool_t *p);

/** "in 3 d 4 h", "5 min ago", "now"; "never" for 0. */
const char *staple_words_distance_text(apr_time_t t, apr_time_t now,
                                       apr_pool_t *p);

/** "2026-01-31T12:00:00Z", for programs; NULL for 0. */
const char *staple_words_iso_text(apr_time_t t, apr_pool_t *p);

/** "2026-01-31"; NULL for 0. */
const char *staple_words_date_text(apr_time_t t, apr_pool_t *p);

/** "2 ms", "1.2 s", "12 s", "5 min", "3 h 4 min", "2 d 3 h"; "-" for less than
 * 0. */
const char *staple_words_span_text(apr_interval_time_t span, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_WORDS_H */
