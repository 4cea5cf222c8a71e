/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_PREFLIGHT_INT_H
#define STAPLE_PREFLIGHT_INT_H

/*
 * What the files of the preflight have in common:
 *
 *   staple_preflight.c  the report is put together: hosts, ring, who staples
 *   preflight/cert.c    what is foreseen of one certificate
 *   preflight/child.c   what is done without privileges
 *   preflight/names.c   in there: names are looked up
 *   preflight/probe.c   in there: responders are asked
 *   preflight/text.c    the report for people
 *   preflight/json.c    and for programs
 *
 * The report is complete before a line of it is printed. Everything lives in
 * its pool. Strings are printable ASCII.
 */

#include <stdio.h>

#include <apr_hash.h>

#include "staple_magic.h"
#include "staple_preflight.h"
#include "staple_report.h"
#include "staple_sslconf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Something that stands in the way. */
typedef struct preflight_trouble_t {
    const char *where;  /* "www.example.com:443 (/etc/httpd/www.conf:3)" */
    const char *what;   /* a phrase */
    const char *who;    /* as in staple_state_advice_t; "" where `what` says */
    const char *remedy; /* all there is to say */
} preflight_trouble_t;

/** A URL of a certificate. */
typedef struct preflight_url_t {
    const char *text;
    const char *wrong; /* why it cannot be asked; NULL: it can */
} preflight_url_t;

/** A certificate that a virtual host has. */
typedef struct preflight_cert_t {
    const char *file;
    const char *subject;       /* NULL: it was not read */
    const staple_cert_t *cert; /* NULL: it was not taken over */
    const char *off;           /* why it is not to be stapled, as configured;
                                  NULL */
    const char *note;          /* what else there is to know; NULL */
    int is_stapled;            /* whether a start will staple it */
    int is_ca;                 /* it is sent behind the one before it, and here
                                  because of StapleChain */
    staple_view_t view;        /* where cert is known: as it will be then */
    apr_array_header_t *urls;  /* preflight_url_t */
    apr_array_header_t *troubles; /* preflight_trouble_t * of the report */
} preflight_cert_t;

/** A note on a certificate without its issuer that is stapled all the same. */
#define STAPLE_PREFLIGHT_SHORT_CHAIN \
    "clients get an incomplete chain: append the issuer's certificate to the " \
    "file of SSLCertificateChainFile, or if that is not set, of " \
    "SSLCertificateFile"

/** A virtual host with SSLEngine on. */
typedef struct preflight_host_t {
    const char *name;  /* "www.example.com:443" */
    const char *file;  /* where it is written; "main server" */
    unsigned int line;
    apr_array_header_t *certs; /* preflight_cert_t */
} preflight_host_t;

/** Somebody to be reached from here. */
typedef struct preflight_target_t {
    const char *host;
    apr_port_t port;
    int uses;         /* how many URLs of certificates lead there */
    int is_proxy;
    const char *addresses; /* "192.0.2.7, 2001:db8::7"; NULL: none is known */
    int is_denied;    /* whether all of them may not be asked */
} preflight_target_t;

/** One certificate and one of its responders, which was asked. */
typedef struct preflight_answer_t {
    const staple_cert_t *cert;
    const char *url;
    staple_state_e state; /* that it would put the certificate in */
    const char *words;    /* what came of it */
    const char *who;      /* as in staple_state_advice_t */
    const char *remedy;
} preflight_answer_t;

/** The ring that a start would make. */
typedef struct preflight_ring_t {
    const char *path; /* NULL: memory only */
    apr_size_t size, needed, certificates;
    int grows;
} preflight_ring_t;

/** Of a preflight_t. */
#define PREFLIGHT_MAGIC 0x50464C54u

/** All of it. */
typedef struct preflight_t {
    staple_magic_t magic;
    const staple_preflight_conf_t *conf;
    const staple_sslconf_t *written;
    apr_pool_t *pool;
    apr_time_t now;
    const char *by;           /* who staples; NULL: nobody */
    apr_array_header_t *notes;     /* const char * */
    apr_array_header_t *hosts;     /* preflight_host_t */
    apr_hash_t *by_target;         /* "host:port" to preflight_target_t */
    apr_array_header_t *targets;   /* preflight_target_t *, in order */
    preflight_ring_t ring;
    int is_probed;
    apr_array_header_t *answers;   /* preflight_answer_t */
    apr_hash_t *links;             /* id to preflight_cert_t: certificates of
                                      CAs, where each is listed first */
    apr_array_header_t *troubles;  /* preflight_trouble_t *, all of them */
} preflight_t;

/** Add something that stands in the way. */
const preflight_trouble_t *staple_preflight_add(preflight_t *report,
                                                const char *where,
                                                const char *what,
                                                const staple_state_advice_t
                                                *advice);

/** "127.0.0.1:80", "[2001:db8::1]:80" */
const char *staple_preflight_target_text(const preflight_target_t *target,
                                         apr_pool_t *p);

/* ----- preflight/cert.c ----- */

/** Foresee what becomes of a certificate; fill in all but its file and
 * subject. @param where for its troubles */
void staple_preflight_foresee(preflight_t *report, preflight_cert_t *entry,
                              const staple_cert_t *cert, const char *where);

/* ----- preflight/child.c ----- */

/** What a child does; what it writes to `out` comes back: lines of fields with
 * tabs between. */
typedef void staple_preflight_work_fn(FILE *out, void *baton, apr_pool_t *p);

/** A line that came back. */
typedef struct preflight_line_t {
    const char *fields[6]; /* "" where there were fewer */
} preflight_line_t;

/**
 * Have it done by a child without privileges and wait for its end.
 * @param lines preflight_line_t, also where the child did not come to its end
 * @return NULL, or why it could not be done
 */
const char *staple_preflight_in_child(server_rec *s,
                                      staple_preflight_work_fn *work,
                                      void *baton, apr_array_header_t **lines,
                                      apr_pool_t *p);

/* ----- preflight/names.c ----- */

/** Look all targets up, side by side within 5 seconds. */
void staple_preflight_names(preflight_t *report);

/* ----- preflight/probe.c ----- */

/** Ask every responder of every certificate once. */
void staple_preflight_probe(preflight_t *report);

/* ----- preflight/text.c, preflight/json.c ----- */

void staple_preflight_print(const preflight_t *report);
void staple_preflight_print_json(const preflight_t *report);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_PREFLIGHT_INT_H */
