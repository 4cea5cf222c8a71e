/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_REPORT_H
#define STAPLE_REPORT_H

/*
 * How certificates, their responders and the ring stand at one moment, for
 * whoever shows that: the status page in any child of the server, and staplectl
 * from a file or a handshake. Both fill in what they know of a certificate and
 * get the same state, numbers, words, sums and JSON.
 *
 * Everything belongs to the caller and its pools; nothing is kept, nothing is
 * locked, no clock is asked. Where a pool is for one certificate it is named
 * p_row: the caller may clear it after each, so that 10,000 certificates take
 * no more memory than ten.
 */

#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_id.h"
#include "staple_json.h"
#include "staple_ocsp.h"
#include "staple_state.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ----- the numbers ----- */

typedef enum {
    STAPLE_NUMBER_COUNTER, /* only grows, while the ring lives */
    STAPLE_NUMBER_GAUGE
} staple_number_type_e;

typedef enum {
    STAPLE_UNIT_NONE,
    STAPLE_UNIT_BYTES,
    STAPLE_UNIT_TIME, /* apr_time_t; 0: never, none */
    STAPLE_UNIT_SPAN  /* apr_interval_time_t; -1: none */
} staple_number_unit_e;

/** A number that is shown; each is declared once, in a table. */
typedef struct staple_number_t {
    const char *name;    /* "ring_live"; each view makes its own name of it */
    staple_number_type_e type;
    staple_number_unit_e unit;
    apr_size_t offset;   /* of an apr_int64_t in one of the structs below */
    const char *label;   /* for people; NULL: not in the list on the page,
                            which says it elsewhere */
    const char *meaning; /* a line, ends in a full stop */
} staple_number_t;

/** Of the server; described in staple_report_server_numbers. */
typedef struct staple_server_numbers_t {
    apr_int64_t certificates, applicable, attention, stapled, since;
    apr_int64_t served, missed, avoided, refused, attempts, failures;
    apr_int64_t ring_size, ring_data, ring_live, ring_free, ring_records;
    apr_int64_t ring_stored, ring_moved, ring_refused;
    apr_int64_t ring_generation, ring_created;
} staple_server_numbers_t;

/** Of one certificate; described in staple_report_cert_numbers. */
typedef struct staple_cert_numbers_t {
    apr_int64_t stapled, attention, since, must_staple;
    apr_int64_t this_update, next_update, serve_until, fetched;
    apr_int64_t last_attempt, last_success, next_due, not_after;
    apr_int64_t revoked, revoked_reason;
    apr_int64_t served, missed, attempts, failures, failing;
    apr_int64_t resolve_took, connect_took, wait_took;
} staple_cert_numbers_t;

/** Of one responder; described in staple_report_responder_numbers. */
typedef struct staple_responder_numbers_t {
    apr_int64_t certificates, answering, failing, failing_stapled;
    apr_int64_t first_end, last_success, last_failure;
} staple_responder_numbers_t;

/** Of the share, if there is one; described in staple_report_share_numbers. */
typedef struct staple_share_numbers_t {
    apr_int64_t silent, since, last_error;
    apr_int64_t hits, misses, foreign, stored, dropped, unanswered, errors;
} staple_share_numbers_t;

/** Of the refresher process; described in staple_report_refresher_numbers. */
typedef struct staple_refresher_numbers_t {
    apr_int64_t running, pid, started, restarts, silence;
} staple_refresher_numbers_t;

/** The tables; the last entry's name is NULL. */
extern const staple_number_t staple_report_server_numbers[];
extern const staple_number_t staple_report_cert_numbers[];
extern const staple_number_t staple_report_responder_numbers[];
extern const staple_number_t staple_report_share_numbers[];
extern const staple_number_t staple_report_refresher_numbers[];

static inline apr_int64_t staple_number_of(const staple_number_t *number,
                                    const void *numbers)
{
    return *(const apr_int64_t *)((const char *)numbers + number->offset);
}

/* ----- one certificate ----- */

/** What a response says of itself, read without being judged. */
typedef struct staple_report_response_t {
    const char *serial;    /* hexadecimal, of the certificate it is about; "":
                              it is about several, and nobody knows which */
    const char *responder; /* its name or "key HASH" */
    const char *algorithm; /* of the signature */
    apr_time_t produced_at;
} staple_report_response_t;

/** A certificate as it stands. Zero it, fill in the first part, and let
 * staple_report_judge and staple_report_explain fill in the rest. */
typedef struct staple_view_t {
    /* What is known. */
    const staple_cert_t *cert; /* NULL: nobody has read it */
    staple_state_traits_t traits; /* as a ring has them, which knows the
                                  directives; where it does not, those of cert
                                  are filled in */
    const staple_cert_policy_t *policy; /* by which it is served */
    const unsigned char *id;   /* STAPLE_ID_LEN bytes */
    const char *host;          /* what the ring calls it, or its first virtual
                                  host; "": nothing */
    int has_slot;              /* whether the ring has a place for it */
    int is_pending;            /* what is held waits to be verified */
    const unsigned char *der;  /* what is held; NULL: nothing */
    apr_size_t der_len;
    staple_cache_meta_t meta;  /* of what is held */
    int has_exchange;          /* whether the next two are known, */
    const char *absence;       /* and if not, why; NULL where they are */
    staple_cache_state_t exchange; /* how the refresh stands; that it fails is
                                  taken out where nobody is asked any more */
    staple_cache_served_t served;  /* what handshakes got */
    int is_judged;             /* whether the bytes were judged again, */
    staple_ocsp_reason_e reason; /* and why they are not to be believed */
    const staple_report_response_t *response; /* NULL: nobody has read it */
    /* What follows from that: staple_report_judge. */
    staple_state_e state;
    int is_stapled;            /* a response that is valid is served */
    const char *url;           /* the URL asked last, so the one that answered
                                  if any did; NULL: none, or not known */
    staple_cert_numbers_t numbers;
    /* In words: staple_report_explain. */
    const char *name;          /* the best there is to call it */
    const char *serial;        /* hexadecimal; "": not known */
    const char *cause;         /* why the state is what it is; "": all is
                                  well */
    staple_state_advice_t advice;
    const char *outcome;       /* of the last exchange; "" without one */
    const char *peer;          /* its address; "" where nobody was asked */
} staple_view_t;

/** Work out a certificate's state and numbers. Allocates nothing. */
void staple_report_judge(staple_view_t *view, apr_time_t now);

/** Put it into words, after staple_report_judge. */
void staple_report_explain(staple_view_t *view, apr_time_t now,
                           apr_pool_t *p_row);

/** An id of a certificate in hexadecimal, without the zeros that it is padded
 * with: as everything writes it. */
const char *staple_report_id_text(const unsigned char id[STAPLE_ID_LEN],
                                  apr_pool_t *p);

/** Whether a certificate has these words, in any case, in its names, hosts,
 * serial, responders or state. "" is in each. */
int staple_report_has_words(const staple_view_t *view, const char *words);

/* ----- all of them ----- */

/** A responder, by its URL, as the states of its certificates show it. */
typedef struct staple_responder_t {
    const char *url;
    staple_responder_numbers_t numbers;
    staple_cache_state_t latest; /* of the certificate for which it was asked
                                    last; all 0 where that is not known */
    staple_cache_state_t failure; /* of the last that failed; all 0: none */
    int is_critical;             /* whether the failure has brought one of them
                                    into a state that is critical */
} staple_responder_t;

/** Whether all that is asked of a responder fails. */
static inline int staple_responder_is_down(const staple_responder_t *responder)
{
    return responder->numbers.failing && !responder->numbers.answering;
}

/** How everything stands. */
typedef struct staple_report_t {
    apr_time_t now;
    const char *source;          /* "server", "ring" or "handshake" */
    const char *server;          /* the server's description; NULL */
    const char *host;            /* the server's name; NULL */
    const char *ring_path;       /* NULL: memory only, or no ring */
    apr_time_t ring_written;     /* when its file was: a server at work writes
                                    its time every ten seconds at the latest;
                                    0: not known */
    staple_server_numbers_t numbers;
    apr_int64_t failures[STAPLE_CACHE_FAILURES]; /* exchanges that failed, by
                                    kind (staple_state_failure) */
    apr_time_t ill_since;        /* of the numbers' `since`, before it is */
    apr_time_t well_since;       /* known whether all is well */
    int states[STAPLE_STATES];   /* how many certificates are in each, */
    int others[STAPLE_STATES];   /* and of those for how many it is not that a
                                    responder fails, or not that alone */
    apr_hash_t *by_url;          /* staple_responder_t */
    apr_array_header_t *responders; /* staple_responder_t, the failing first;
                                       once staple_report_finish was called */
    const char *share;           /* StapleShare's provider, or "in use"; NULL:
                                    there is none */
    staple_share_numbers_t share_numbers; /* if there is one */
    const char *share_error;     /* its last error in words; NULL: none */
    int has_refresher;           /* whether the next is known */
    staple_refresher_numbers_t refresher;
} staple_report_t;

/** An empty report. */
void staple_report_start(staple_report_t *report, const char *source,
                         apr_time_t now, apr_pool_t *p);

/** What the ring says of itself. */
void staple_report_add_ring(staple_report_t *report,
                            const staple_cache_t *cache);

/** What the refresher says of the share.
 * @param provider what it is called */
void staple_report_add_share(staple_report_t *report, const char *provider,
                             const staple_cache_share_t *share, apr_pool_t *p);

/** Count a judged certificate. */
void staple_report_add(staple_report_t *report, const staple_view_t *view,
                       apr_pool_t *p);

/** All certificates are counted: put the responders in order. */
void staple_report_finish(staple_report_t *report, apr_pool_t *p);

/** The most urgent state that a certificate is in. */
staple_state_e staple_report_worst(const staple_report_t *report);

/** "All 3 certificates are stapled." */
const char *staple_report_summary(const staple_report_t *report,
                                  apr_pool_t *p);

/** "Something has been wrong since ...", or all well; "": not known. */
const char *staple_report_since_text(const staple_report_t *report,
                                     apr_pool_t *p);

/** How a responder did when it was asked last, in words. */
const char *staple_report_responder_text(const staple_responder_t *responder,
                                         apr_pool_t *p);

/** "ocsp.example.com: no answer within 10 s (192.0.2.1:80); ...": what fails,
 * and what that means for how many certificates. */
const char *staple_report_trouble_text(const staple_responder_t *responder,
                                       apr_pool_t *p);

/** Whether the refresher works: "process 123, since ...". */
const char *staple_report_refresher_text(const staple_report_t *report,
                                         apr_pool_t *p);

/** Whether the share answers: "in use since ...". */
const char *staple_report_share_text(const staple_report_t *report,
                                     apr_pool_t *p);

/* ----- a response taken apart ----- */

/*
 * A response may answer for several certificates. That of a view is the one of
 * its cert; where nobody has read that, the first of the status that is kept
 * with the response.
 */

/** Read what the response of a view says of itself; NULL: it is no basic
 * response. */
const staple_report_response_t *staple_report_read_response(
    const staple_view_t *view, apr_pool_t *p);

/** The same for what it says of a revocation alone, without a pool.
 * @param revoked_at 0: none
 * @param crl_reason -1: none */
void staple_report_read_revocation(const staple_view_t *view,
                                   apr_time_t *revoked_at, int *crl_reason);

/** A line of it; a section begins where value is NULL. Printable ASCII. */
typedef struct staple_response_line_t {
    const char *name;
    const char *value;
} staple_response_line_t;

/** The lines of a response, staple_response_line_t, from p; never fails. */
apr_array_header_t *staple_report_dissect(const unsigned char *der,
                                          apr_size_t len, apr_pool_t *p);

/* ----- JSON: docs/status.schema.json ----- */

/** The members before the certificates; opens the document and the array. */
void staple_report_json_start(staple_json_t *json,
                              const staple_report_t *report, apr_pool_t *p);

/** How much is said of a response. */
typedef enum {
    STAPLE_REPORT_NO_RESPONSE, /* what a certificate's numbers say of it */
    STAPLE_REPORT_RESPONSE,    /* who signed it, and when */
    STAPLE_REPORT_LINES        /* and all that is in it, line by line */
} staple_report_depth_e;

/** A certificate, after staple_report_explain. */
void staple_report_json_cert(staple_json_t *json, const staple_view_t *view,
                             staple_report_depth_e depth, apr_pool_t *p_row);

/** The end of the document. */
void staple_report_json_end(staple_json_t *json);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_REPORT_H */
