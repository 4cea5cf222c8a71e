/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_SSLCONF_H
#define STAPLE_SSLCONF_H

/*
 * What mod_ssl's directives say of certificates: which files a server has, and
 * where mod_ssl looks for an issuer. Read out of httpd's configuration tree, so
 * only in the parent, until post_config is over; one thread.
 *
 * What it cannot see: certificates that SSLOpenSSLConfCmd names, and those on a
 * token ("pkcs11:..."). Files are those of an administrator, or of customers of
 * a shared host: they are read as PEM and nothing is verified.
 */

#include <httpd.h>
#include <apr_tables.h>

#include "staple_id.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is said of one (virtual) server. */
typedef struct staple_sslconf_server_t {
    const server_rec *server;
    int is_on;                 /* SSLEngine; -1: not said */
    apr_array_header_t *certs; /* const char *: SSLCertificateFile, absolute but
                                  on a token */
    const char *chain;         /* SSLCertificateChainFile or NULL */
    const char *ca_file;       /* SSLCACertificateFile or NULL */
    const char *ca_path;       /* SSLCACertificatePath or NULL */
} staple_sslconf_server_t;

/** All of it. */
typedef struct staple_sslconf_t {
    apr_array_header_t *servers; /* staple_sslconf_server_t, one a server: the
                                    main one, then the virtual hosts in the
                                    order of the configuration */
    int is_md_stapling;          /* MDStapling on, anywhere */
} staple_sslconf_t;

/** Read the configuration tree of httpd. */
staple_sslconf_t *staple_sslconf_read(const server_rec *main_server,
                                      apr_pool_t *p);

/** A virtual host's port: of its ServerName, or else its first address; 443
 * where there is none. */
apr_port_t staple_sslconf_port(const server_rec *s);

/** A certificate as mod_ssl would hand it over. */
typedef struct staple_sslconf_pair_t {
    unsigned char id[STAPLE_ID_SSL_LEN];
    const char *pem;     /* it and its issuer; where that was not found, it and
                            itself once more, as staple_cert_add wants it */
    int has_issuer;      /* whether it was found */
    const char *subject; /* printable, for people */
} staple_sslconf_pair_t;

/** Whether the argument of SSLCertificateFile is no file, but names something
 * on a token. */
int staple_sslconf_is_on_token(const char *path);

/**
 * Read a certificate, and find its issuer where mod_ssl looks for it: in
 * SSLCertificateChainFile, or if there is none, in the same file; then in
 * SSLCACertificateFile and in the directory SSLCACertificatePath.
 * @return NULL, or why it cannot be read
 */
const char *staple_sslconf_load(staple_sslconf_pair_t *pair, const char *path,
                                const staple_sslconf_server_t *server,
                                apr_pool_t *p);

/**
 * The certificates of CAs that are sent behind a certificate and that name an
 * OCSP responder: of SSLCertificateChainFile, or if there is none, of the same
 * file.
 * @return staple_sslconf_pair_t, in their order
 */
apr_array_header_t *
staple_sslconf_load_chain(const char *path,
                          const staple_sslconf_server_t *server,
                          apr_pool_t *p);

/* ----- a start: what mod_ssl uses, and does not hand over ----- */

typedef struct staple_sslconf_start_t staple_sslconf_start_t;

/** @param p lives until all were visited */
staple_sslconf_start_t *staple_sslconf_start(apr_pool_t *p);

/** In the hook ssl_add_cert_files, before all others, of which one may add
 * files and end the hook.
 * @param files const char *: those of the server; read once more when all are
 *        visited */
void staple_sslconf_note_files(staple_sslconf_start_t *start,
                               const server_rec *s,
                               const apr_array_header_t *files);

/** In the hook ssl_add_fallback_cert_files: a server has no certificate, and
 * gets one for the time being, which is not visited. */
void staple_sslconf_note_fallback(staple_sslconf_start_t *start,
                                  const server_rec *s);

/** In the hook ssl_ocsp_prime_hook: one of the server's was handed over. */
void staple_sslconf_note_primed(staple_sslconf_start_t *start,
                                const server_rec *s);

/**
 * @param file the certificate's
 * @param chain the server's SSLCertificateChainFile, because of which what
 *        follows in file is not used; NULL: none
 */
typedef void staple_sslconf_visit_fn(server_rec *s, const char *file,
                                     const char *chain,
                                     const staple_sslconf_pair_t *pair,
                                     apr_pool_t *ptemp);

/**
 * Visit the certificates that mod_ssl does not hand over because it does not
 * find their issuer. Only the files of servers with fewer certificates handed
 * over than files are read.
 */
void staple_sslconf_visit_without_issuer(const staple_sslconf_start_t *start,
                                         const server_rec *main_server,
                                         staple_sslconf_visit_fn *visit,
                                         apr_pool_t *ptemp);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_SSLCONF_H */
