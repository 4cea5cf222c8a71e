/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLECTL_H
#define STAPLECTL_H

/*
 * The inside of staplectl, the command line: a program of its own that links
 * the module's rooms it needs and is never part of the server. Its files:
 *
 *   staplectl/main.c   options and commands
 *   staplectl/certs.c  certificate files, to name and to judge by
 *   staplectl/regular.c  a file of others is read with care
 *   staplectl/find.c   where the ring is, if nobody says so
 *   staplectl/ring.c   a ring file becomes entries
 *   staplectl/tls.c    a handshake with a server becomes an entry
 *   staplectl/entry.c  an entry is judged and named
 *   staplectl/check.c  entries become a severity, for monitoring
 *   staplectl/print.c  entries become text or JSON
 *   staplectl/ask.c    what is asked of the refresher, and what came of it
 *   staplectl/keep.c   responses without a server: which, and to which files
 *   staplectl/fetch.c  the same: how they are asked for
 *   staplectl/suggest.c  what a mistyped word was meant to be
 *
 * One thread; everything lives in the pool of the process.
 */

#include <apr_network_io.h>
#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include <openssl/x509.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_report.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The exit statuses, those of monitoring plug-ins. */
typedef enum {
    STAPLECTL_OK = 0,
    STAPLECTL_WARNING = 1,
    STAPLECTL_CRITICAL = 2,
    STAPLECTL_UNKNOWN = 3 /* nothing could be found out */
} staplectl_exit_e;

/** One certificate: what the ring holds, or a handshake brought. */
typedef struct staplectl_entry_t {
    staple_view_t view;
    X509 *leaf;   /* of view.cert; NULL: no certificate file was given */
    int was_sent; /* a handshake brought it: clients get it, whatever its age */
    int is_old;   /* was_sent, and so old that some clients refuse it */
} staplectl_entry_t;

/** What a ring file holds at one moment. */
typedef struct staplectl_ring_t {
    const char *path;
    int is_missing;              /* there is no such file: all entries are of
                                    certificates that were given */
    staple_cache_share_t share;
    staple_report_t report;      /* of all its entries */
    apr_array_header_t *entries; /* staplectl_entry_t: one a slot, then one for
                                    each certificate given that has none */
} staplectl_ring_t;

/* ----- staplectl/certs.c ----- */

/** Certificates out of files, to judge the entries of a ring by. */
typedef struct staplectl_certs_t staplectl_certs_t;

staplectl_certs_t *staplectl_certs_make(apr_pool_t *p);

/**
 * Read a file that anybody may have put there, or may exchange: only a regular
 * one, of fewer than so many bytes and not empty. Nothing else is opened, and
 * nothing waits.
 * @param bytes room for that many
 * @param changed when it was written to
 * @return its length; -1: errno says why, EINVAL: it is no such file
 */
apr_ssize_t staplectl_read_regular(const char *path, unsigned char *bytes,
                                   apr_size_t room, apr_time_t *changed);

/**
 * Add all certificates of a PEM file. Those of authorities serve as issuers,
 * whatever file they are in.
 * @return NULL, or what is wrong with it, for the user, who is told which file
 */
const char *staplectl_certs_load(staplectl_certs_t *certs, const char *path);

/** The same of the first 32 certificates of a file that anybody may have put
 * there, of at most so many bytes, as staplectl_read_regular reads it. */
const char *staplectl_certs_load_small(staplectl_certs_t *certs,
                                       const char *path, apr_size_t max);

/** Add one certificate; it is referenced. */
void staplectl_certs_add(staplectl_certs_t *certs, X509 *x);

/** Add the certificate that a server showed as its own; it is referenced. It
 * becomes a leaf even if it says that it is an authority's. */
void staplectl_certs_add_server(staplectl_certs_t *certs, X509 *x);

/** All files are loaded: find each certificate's issuer. */
const char *staplectl_certs_finish(staplectl_certs_t *certs);

/**
 * Instead of that, where only one certificate matters: describe the first one
 * of a server, whose issuer is searched among all.
 * @param p where the record lives, which is all that is kept: certs may end
 * @return NULL, or what is wrong, for the user, as long as certs lives
 */
const char *staplectl_certs_first(const staplectl_certs_t *certs,
                                  const staple_cert_t **cert, apr_pool_t *p);

/** A certificate of a server, out of a file or a handshake. */
typedef struct staplectl_leaf_t {
    X509 *leaf;
    X509 *issuer; /* NULL: in none of the files */
    const staple_cert_t *cert;
} staplectl_leaf_t;

/** The leaves, staplectl_leaf_t, once all files are loaded. */
const apr_array_header_t *staplectl_certs_leaves(
    const staplectl_certs_t *certs);

/** The leaf that a server showed, once all files are loaded; NULL: none. */
const staplectl_leaf_t *staplectl_certs_server(const staplectl_certs_t *certs);

/** The leaf of an id of STAPLE_ID_LEN bytes; NULL: there is none. */
const staplectl_leaf_t *staplectl_certs_find(const staplectl_certs_t *certs,
                                             const unsigned char *id);

/* ----- staplectl/find.c ----- */

/** Where the packages have the ring. */
#define STAPLECTL_USUAL_RING "/var/cache/mod_staple/ring"

/**
 * Find the ring: the path in the configuration of the installed httpd, then
 * the packages' default.
 * @param where what named it, for the user
 * @return NULL, or that there is none, for the user
 */
const char *staplectl_find_ring(const char **path, const char **where,
                                apr_pool_t *p);

/* ----- staplectl/ring.c ----- */

/** That a ring file cannot be read, and why, as far as that is known.
 * @param rv, reason of staple_cache_open_file */
const char *staplectl_no_ring(apr_status_t rv, const char *path,
                              const char *reason, apr_pool_t *p);

/**
 * Read a ring file as it is now, once more where the server replaced it, or
 * wrote to it, meanwhile. Where there is none, certificates that were given
 * are entries all the same.
 * @return NULL, or what is wrong, for the user
 */
const char *staplectl_ring_load(staplectl_ring_t **ring, const char *path,
                                const staplectl_certs_t *certs,
                                apr_time_t now, apr_pool_t *p);

/* ----- staplectl/entry.c ----- */

/** The policy by which is judged where the directives are not known: that of
 * a server where they say nothing, of a certificate without must-staple. */
const staple_cert_policy_t *staplectl_usual_policy(apr_pool_t *p);

/** Say whose entry it is: fill in id, cert and leaf. Where the issuer is
 * known the bytes will be judged. */
void staplectl_entry_set_cert(staplectl_entry_t *entry,
                              const staplectl_leaf_t *leaf);

/** An entry of which nothing is known, pushed onto entries. */
staplectl_entry_t *staplectl_entry_push(apr_array_header_t *entries);

/** Whether the server asks a responder about it. It does not about what has no
 * slot in the ring, nor about a certificate that was given and that it does not
 * know. */
int staplectl_entry_is_asked(const staple_view_t *view);

/** Work out state, numbers and words of an entry whose bytes are there. */
void staplectl_entry_judge(staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p);

/**
 * Whether an entry is meant by what a user wrote: the virtual host by whose
 * name the ring knows it, with or without its port; a name that its
 * certificate is valid for; its serial, or its id or the beginning of it (8
 * digits at least), hexadecimal with or without colons.
 */
int staplectl_entry_matches(const staplectl_entry_t *entry,
                            const char *pattern, apr_pool_t *p);

/* ----- staplectl/check.c ----- */

/** How little may be left of a response's validity. */
typedef struct staplectl_limit_t {
    int is_set;
    apr_interval_time_t span; /* less than this, */
    int percent;              /* or if that is -1 less than this part */
} staplectl_limit_t;

/** What makes an entry bad. */
typedef struct staplectl_limits_t {
    staplectl_limit_t warning;  /* these two beside what its state says */
    staplectl_limit_t critical;
    int severities[STAPLE_STATES]; /* staple_severity_e */
} staplectl_limits_t;

/** What the states say, and no limit beside that. */
void staplectl_limits_init(staplectl_limits_t *limits);

/** Read "36h", "2d", "90m", "600" (seconds) or "25%".
 * @return whether it is one of these */
int staplectl_limit_parse(staplectl_limit_t *limit, const char *text);

/** Read "STATE=SEVERITY", as in "missing=warning".
 * @return whether it is one of these */
int staplectl_severity_parse(staplectl_limits_t *limits, const char *text);

/** How bad an entry is. */
staple_severity_e staplectl_severity_of(const staplectl_entry_t *entry,
                                        const staplectl_limits_t *limits,
                                        apr_time_t now);

/** How bad it is that no server has written the ring's file for minutes, so
 * that nothing in it is renewed.
 * @param ring NULL: the entries do not come from one */
staple_severity_e staplectl_severity_of_ring(const staplectl_ring_t *ring,
                                             apr_time_t now);

/** Say it as a monitoring plug-in does: a line, performance data, and a line
 * for each entry that is not well.
 * @param ring NULL: as above
 * @return the exit status */
int staplectl_check(const staplectl_ring_t *ring,
                    const apr_array_header_t *entries,
                    const staplectl_limits_t *limits, apr_time_t now,
                    apr_pool_t *p);

/* ----- staplectl/print.c ----- */

/** @param most how many entries there is room for; 0: for all */
void staplectl_print_list(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries, int most,
                          apr_time_t now, apr_pool_t *p);
/** Lines of the terminal that standard output is; 0: it is none. */
int staplectl_print_height(void);
void staplectl_print_entry(const staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p);
/** The response in OpenSSL's words. */
void staplectl_print_response(const staplectl_entry_t *entry);

/**
 * A document as docs/status.schema.json describes it.
 * @param ring NULL: the entries do not come from one
 */
void staplectl_print_json(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries,
                          staple_report_depth_e depth, apr_time_t now,
                          apr_pool_t *p);

/* ----- staplectl/ask.c ----- */

/** What is asked of the refresher of a server at work. */
typedef struct staplectl_request_t {
    const char *ring_path;
    apr_uint32_t what;        /* staple_cache_request_e, or-ed */
    int are_all;              /* of all certificates */
    apr_time_t since;         /* when it was asked */
    apr_interval_time_t wait; /* how long to wait for what comes of it */
} staplectl_request_t;

/**
 * Leave a request in the ring's file for each entry and wait until it is
 * taken.
 * @return NULL, or why it was not taken, for the user
 */
const char *staplectl_ask(const staplectl_request_t *request,
                          const apr_array_header_t *entries, apr_pool_t *p);

/**
 * Wait until the exchanges have ended, and say how, a line for each.
 * @return 0: all brought a response; 1: some have not ended in time; 2: some
 *         have failed; 3: the ring cannot be read
 */
int staplectl_await(const staplectl_request_t *request,
                    const apr_array_header_t *entries,
                    const staplectl_certs_t *certs, apr_pool_t *p);

/* ----- staplectl/keep.c, staplectl/fetch.c ----- */

/** How responses are fetched without a server. */
typedef struct staplectl_fetch_options_t {
    const char *issuer;     /* a PEM file of issuers; NULL: none */
    const char *output;     /* a file or a directory; NULL: beside the
                               certificate */
    const char *keep_fresh; /* a directory whose certificates are asked about
                               when they are due; NULL: none */
    const char *post_hook;  /* a command for the shell, run when something was
                               written, with STAPLE_COUNT and STAPLE_FILES in
                               its environment; NULL: none */
    const char *proxy;      /* "http://host:port"; NULL: none */
    apr_interval_time_t wait;    /* how long to go on after failures */
    apr_interval_time_t timeout; /* of an exchange with one responder */
} staplectl_fetch_options_t;

/**
 * Fetch, verify and write the responses of certificates in files, and say what
 * became of each.
 * @param paths const char *
 * @return 0: each has one that is good, or needs none; 1: of some none was to
 *         be had, and what is there is valid still; 2: some have none; 3: a
 *         certificate or a directory cannot be read
 */
int staplectl_fetch(const apr_array_header_t *paths,
                    const staplectl_fetch_options_t *options, apr_pool_t *p);

/* ----- staplectl/suggest.c ----- */

/** The word that is the nearest to what was typed; NULL: none is near.
 * @param words ends in NULL */
const char *staplectl_nearest(const char *word, const char *const *words);

/* ----- staplectl/tls.c ----- */

/** Whom to ask for a handshake. */
typedef struct staplectl_target_t {
    const char *host;
    apr_port_t port;
    const char *name; /* for SNI; NULL: none */
    apr_interval_time_t timeout; /* for all of it */
} staplectl_target_t;

/** What was stapled, allocated from the pool of the handshake. */
typedef struct staplectl_staple_t {
    const unsigned char *der; /* NULL: nothing */
    apr_size_t len;
} staplectl_staple_t;

/**
 * Shake hands, asking for a staple (RFC 6066 8), and hang up. The server's
 * certificates are added to certs; none of them is verified.
 * @return NULL, or what went wrong, for the user
 */
const char *staplectl_tls_ask(const staplectl_target_t *target,
                              staplectl_certs_t *certs,
                              staplectl_staple_t *staple, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLECTL_H */
