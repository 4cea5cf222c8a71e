/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_STATUS_INT_H
#define STAPLE_STATUS_INT_H

/*
 * What the files of the status page have in common and nobody else sees:
 *
 *   staple_status.c    what is asked: query, methods, headers, actions
 *   status/view.c      the model: how everything stands at one moment
 *   status/words.c     verdicts, whose fault it is and what to do
 *   status/numbers.c   each number's one declaration
 *   status/response.c  an OCSP response taken apart
 *   status/html.c      and the views: the page,
 *   status/cert.c      the page of one certificate,
 *   status/json.c      ?json,
 *   status/metrics.c   ?metrics,
 *   status/lines.c     ?auto and mod_status' page;
 *   status/style.c     the style sheet and the policy that lets it pass
 *
 * Everything belongs to one request and its pool, unless a row's pool `p` is
 * named, which is cleared after each row: a page of 10,000 certificates takes
 * no more memory than one of ten.
 */

#include <httpd.h>
#include <http_protocol.h>

#include "staple_status.h"
#include "staple_fetch.h"
#include "staple_ocsp.h"
#include "staple_rules.h"
#include "staple_words.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ----- the numbers ----- */

typedef enum {
    NUMBER_COUNTER, /* only grows, while the ring lives */
    NUMBER_GAUGE
} number_type_e;

typedef enum {
    UNIT_NONE,
    UNIT_BYTES,
    UNIT_TIME, /* apr_time_t; 0: never, none */
    UNIT_SPAN  /* apr_interval_time_t; -1: none */
} number_unit_e;

/** A number that is shown; each is declared once, in a table. */
typedef struct number_t {
    const char *name;    /* "ring_live"; each view makes its own name of it */
    number_type_e type;
    number_unit_e unit;
    apr_size_t offset;   /* of an apr_int64_t in one of the structs below */
    const char *label;   /* for people; NULL: not in the list on the page,
                            which says it elsewhere */
    const char *meaning; /* a line, ends in a full stop */
} number_t;

/** Of the server; described in staple_status_server_numbers. */
typedef struct server_numbers_t {
    apr_int64_t certificates, attention, stapled;
    apr_int64_t served, missed, attempts, failures;
    apr_int64_t ring_size, ring_data, ring_live, ring_free, ring_records;
    apr_int64_t ring_stored, ring_moved, ring_refused;
    apr_int64_t ring_generation, ring_created;
} server_numbers_t;

/** Of one certificate; described in staple_status_cert_numbers. */
typedef struct cert_numbers_t {
    apr_int64_t stapled, attention, must_staple;
    apr_int64_t this_update, next_update, serve_until, fetched;
    apr_int64_t last_attempt, last_success, next_due, not_after;
    apr_int64_t served, missed, attempts, failures, failing;
    apr_int64_t resolve_took, connect_took, wait_took;
} cert_numbers_t;

/** Of one responder; described in staple_status_responder_numbers. */
typedef struct responder_numbers_t {
    apr_int64_t certificates, failing, last_success, last_failure;
} responder_numbers_t;

/** Of the share, if there is one; described in staple_status_share_numbers. */
typedef struct share_numbers_t {
    apr_int64_t silent, since, last_error;
    apr_int64_t hits, misses, odd, stored, dropped, unanswered, errors;
} share_numbers_t;

/** The tables; the last entry's name is NULL. */
extern const number_t staple_status_server_numbers[];
extern const number_t staple_status_cert_numbers[];
extern const number_t staple_status_responder_numbers[];
extern const number_t staple_status_share_numbers[];

static inline apr_int64_t number_of(const number_t *number, const void *numbers)
{
    return *(const apr_int64_t *)((const char *)numbers + number->offset);
}

/* ----- the model ----- */

/** What becomes of a certificate's handshakes, the most urgent first. */
typedef enum {
    VERDICT_REFUSED,        /* missing, and it is must-staple */
    VERDICT_REVOKED,        /* a response is served that says so */
    VERDICT_EXPIRING,       /* served, but its end is near, nothing new came */
    VERDICT_MISSING,        /* nothing is served */
    VERDICT_NO_ROOM,        /* nothing can be: no slot in the ring */
    VERDICT_FAILING,        /* served, but the last attempts failed */
    VERDICT_STAPLED,        /* all is well */
    VERDICT_NOT_APPLICABLE, /* OCSP has nothing to say about it */
    VERDICTS
} verdict_e;

/** A certificate as it stands. */
typedef struct view_t {
    const staple_cert_t *cert;
    verdict_e verdict;
    const char *cause;  /* why, in words; "" where all is well */
    const char *fault;  /* whose: "the network"; "" */
    const char *advice; /* what to do about it; "" */
    const char *outcome; /* of the last exchange, in words; "" without one */
    const char *peer;   /* its address; "" where nobody was asked */
    const char *url;    /* the URL asked last, so the one that answered if any
                           did; NULL: none, or it is not known any more */
    int is_stapled;     /* a response that is valid is served */
    int is_error;       /* a responder's error is: is_stapled is 0 */
    const unsigned char *der; /* what is held; NULL: nothing. In the moment's
                                 buffer: until the next look */
    apr_size_t der_len;
    staple_cache_meta_t meta; /* of what is held */
    staple_cache_state_t state;
    cert_numbers_t numbers;
} view_t;

/** A responder, by its URL, as the states of its certificates show it. */
typedef struct responder_t {
    const char *url;
    responder_numbers_t numbers;
    staple_cache_state_t latest; /* of the certificate for which it was asked
                                    last; all 0 where that is not known */
} responder_t;

typedef enum {
    SHOW_HTML,
    SHOW_JSON,
    SHOW_METRICS,
    SHOW_AUTO,
    SHOW_DER
} show_e;

/** What is asked. */
typedef struct query_t {
    show_e show;
    const char *words;  /* q: only certificates in which it occurs; "": all */
    int only_attention; /* show=attention */
    int page;           /* from 1 */
    const char *id;     /* id or der: a certificate's; NULL */
    const char *serial; /* serial; NULL */
    const char *done;   /* the action that led here; NULL */
} query_t;

/** A certificate's place in the order of urgency. */
typedef struct row_t {
    const staple_cert_t *cert;
    verdict_e verdict;
    apr_time_t until;
    int number; /* in order of configuration */
} row_t;

/** How everything stands at one moment. */
typedef struct moment_t {
    const staple_status_conf_t *conf;
    apr_time_t now;
    server_numbers_t numbers;
    int verdicts[VERDICTS];         /* how many have it */
    row_t *rows;                    /* those that the query lets pass */
    int rows_count;
    apr_array_header_t *responders; /* responder_t, the failing first */
    const char *share;              /* StapleShare's provider; NULL: none */
    share_numbers_t share_numbers;  /* if there is one */
    const char *share_error;        /* its last error in words; NULL: none */
    unsigned char *buf;             /* STAPLE_CACHE_DER_MAX bytes */
} moment_t;

/** Look at everything; words and only_attention of the query filter rows. */
moment_t *staple_status_gather(const staple_status_conf_t *conf,
                               const query_t *query, apr_pool_t *p);

/** Look at one certificate, for all of a view but its words. */
void staple_status_weigh(const moment_t *moment, const staple_cert_t *cert,
                         view_t *view);

/** Look at one certificate. @param p a row's pool */
void staple_status_look(const moment_t *moment, const staple_cert_t *cert,
                        view_t *view, apr_pool_t *p);

/** The certificate of an id as staple_status_id_text writes it, or NULL. */
const staple_cert_t *staple_status_find(const staple_status_conf_t *conf,
                                        const char *id);

/** How a responder did when it was asked last, in words. */
const char *staple_status_responder_text(const responder_t *responder,
                                         apr_pool_t *p);

/** A certificate's id in hexadecimal, without the zeros it is padded with. */
const char *staple_status_id_text(const staple_cert_t *cert, apr_pool_t *p);

/* ----- words ----- */

/** "not_applicable": for programs. */
const char *staple_status_verdict_name(verdict_e verdict);

/** "not applicable": for people. */
const char *staple_status_verdict_text(verdict_e verdict);

/** Its class in the page's style: "good", "warn", "bad" or "none". */
const char *staple_status_colour(verdict_e verdict);

/** Whether somebody should look at it. */
int staple_status_needs_attention(verdict_e verdict);

/** Whose fault the last outcome is and what to do; "" where nothing is. */
void staple_status_blame(const staple_cache_state_t *state,
                         const char **fault, const char **advice);

/** "All 3 certificates are stapled." */
const char *staple_status_summary(const moment_t *moment, apr_pool_t *p);

/** Whether the share answers: "in use since ...". */
const char *staple_status_share_text(const moment_t *moment, apr_pool_t *p);

/** Why a call of the share's provider failed. */
const char *staple_status_share_error(apr_status_t status, apr_pool_t *p);

/** "in 3 d 4 h", "5 min ago", "now"; "never" for 0. */
const char *staple_status_distance(apr_time_t t, apr_time_t now,
                                   apr_pool_t *p);

/* ----- a response taken apart ----- */

/** A line of it; a section begins where value is NULL. Printable ASCII. */
typedef struct response_line_t {
    const char *name;
    const char *value;
} response_line_t;

/** The lines of a response, response_line_t, from p; never fails. */
apr_array_header_t *staple_status_dissect(const unsigned char *der,
                                          apr_size_t len, apr_pool_t *p);

/* ----- the views: each writes its body ----- */

void staple_status_put_html(request_rec *r, const moment_t *moment,
                            const query_t *query);
void staple_status_put_cert(request_rec *r, const moment_t *moment,
                            const staple_cert_t *cert, const query_t *query);
void staple_status_put_json(request_rec *r, const moment_t *moment,
                            const staple_cert_t *only);
/** @param is_open OpenMetrics; else the text format of Prometheus */
void staple_status_put_metrics(request_rec *r, const moment_t *moment,
                               int is_open);
void staple_status_put_auto(request_rec *r, const moment_t *moment);

/** The head of a page up to <main>, and its end. */
void staple_status_put_head(request_rec *r, const char *title);
void staple_status_put_foot(request_rec *r, const moment_t *moment);

/** The page's style sheet. */
extern const char staple_status_style[];

/** The Content-Security-Policy that lets the page's own style pass. */
const char *staple_status_policy(apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_STATUS_INT_H */
