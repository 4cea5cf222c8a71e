/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_PREFLIGHT_INT_H
#define STAPLE_PREFLIGHT_INT_H

/*
 * What the files of the preflight have in common: what was written
 * (preflight/conf.c), the report (staple_preflight.c), and the probe
 * (preflight/probe.c).
 */

#include "staple_preflight.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ----- preflight/conf.c ----- */

/** What mod_ssl's directives say of one (virtual) server. */
typedef struct staple_preflight_tls_t {
    const server_rec *server;
    int is_on;                    /* SSLEngine; -1: not said */
    apr_array_header_t *certs;    /* const char *: SSLCertificateFile */
    const char *chain;            /* SSLCertificateChainFile or NULL */
    const char *authorities;      /* SSLCACertificateFile or NULL */
} staple_preflight_tls_t;

/** All of it. */
typedef struct staple_preflight_written_t {
    apr_array_header_t *servers; /* staple_preflight_tls_t, one a server: the
                                    main one, then the virtual hosts in the
                                    order of the configuration */
    int is_md_stapling;          /* MDStapling on, anywhere */
} staple_preflight_written_t;

/** Read the configuration tree of httpd. */
staple_preflight_written_t *staple_preflight_read(const server_rec *main,
                                                  apr_pool_t *p);

/** A certificate as mod_ssl would hand it over. */
typedef struct staple_preflight_pair_t {
    unsigned char id[STAPLE_ID_SSL_LEN];
    const char *pem;       /* leaf and issuer; NULL: no issuer was found */
    const char *subject;   /* printable, for the report */
    int is_self_signed;
} staple_preflight_pair_t;

/**
 * Read a certificate and find its issuer where mod_ssl looks for it.
 * @return NULL, or why it cannot be read
 */
const char *staple_preflight_load(staple_preflight_pair_t *pair,
                                  const char *path,
                                  const staple_preflight_tls_t *tls,
                                  apr_pool_t *p);

/* ----- preflight/probe.c ----- */

/**
 * Ask every responder of every certificate once, in a child without
 * privileges, and print the verdict on each answer.
 * @return how many need attention
 */
int staple_preflight_probe(const staple_preflight_conf_t *conf, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_PREFLIGHT_INT_H */
