/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_PREFLIGHT_H
#define STAPLE_PREFLIGHT_H

/*
 * The preflight: `httpd -t -D DUMP_STAPLING` says what would be stapled and
 * what would not, and why; `-D PROBE_STAPLING` asks every responder besides;
 * with `-D DUMP_STAPLING_JSON` it is said to programs.
 * docs/preflight.md explains the report.
 *
 * mod_ssl reads no certificate under -t. So the preflight finds them in the
 * configuration itself (SSLCertificateFile and its kin) and hands them over
 * just as mod_ssl would do at start.
 */

#include <httpd.h>

#include "staple_cert.h"
#include "staple_fetch.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What the preflight works with. */
typedef struct staple_preflight_conf_t {
    server_rec *server;                     /* the main server */
    const staple_cert_registry_t *registry; /* what prime fills */
    /* The hook that mod_ssl calls at start for each certificate: OK where it
       is taken over. */
    int (*prime)(server_rec *s, apr_pool_t *p, const char *id,
                 apr_size_t id_len, const char *pem);
    staple_fetch_conf_t fetch;              /* for PROBE_STAPLING */
    int is_chain;                           /* StapleChain on */
    const char *why_no_chain; /* why that has no effect; NULL: it has one */
    /* Take over a certificate that is sent behind another one, as at a start;
       NULL: it cannot be. */
    staple_cert_t *(*add_of_chain)(server_rec *s, staple_cert_use_t *use);
} staple_preflight_conf_t;

/** Whether a report was asked for on the command line. */
int staple_preflight_is_wanted(void);

/**
 * Print the report to standard output. Resolves the responders' names; with
 * PROBE_STAPLING it also asks them, in a child without privileges.
 * @return how many things need attention; 0: all is well
 */
int staple_preflight_report(const staple_preflight_conf_t *conf,
                            apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_PREFLIGHT_H */
