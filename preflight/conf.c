/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight: what was written about certificates.
 *
 * The one idea: under -t mod_ssl keeps its directives to itself and loads
 * nothing, but httpd's configuration tree is there for all to read. A server
 * is known by the file and line of its <VirtualHost>. Includes, IfModule,
 * IfDefine and macros are dissolved in the tree already.
 */

#include "preflight_int.h"

#include <http_config.h>
#include <http_core.h>
#include <util_cfgtree.h>
#include <apr_strings.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "staple_x509.h"

/* ----- the tree ----- */

static int is_named(const ap_directive_t *node, const char *name)
{
    return !ap_cstr_casecmp(node->directive, name);
}

static const char *first_word(const ap_directive_t *node, apr_pool_t *p)
{
    const char *args = node->args;

    return ap_getword_conf(p, &args);
}

static const char *first_path(const ap_directive_t *node, apr_pool_t *p)
{
    const char *word = first_word(node, p);
    const char *path = ap_server_root_relative(p, word);

    return path ? path : word;
}

static int is_switched_on(const ap_directive_t *node, apr_pool_t *p)
{
    return ap_cstr_casecmp(first_word(node, p), "off") != 0;
}

static staple_preflight_tls_t *add_server(staple_preflight_written_t *written,
                                          const server_rec *s, apr_pool_t *p)
{
    staple_preflight_tls_t *tls = apr_array_push(written->servers);

    memset(tls, 0, sizeof(*tls));
    tls->server = s;
    tls->is_on = -1;
    tls->certs = apr_array_make(p, 1, sizeof(const char *));
    return tls;
}

static void read_node(staple_preflight_written_t *written,
                      staple_preflight_tls_t *tls, const ap_directive_t *node,
                      apr_pool_t *p)
{
    if (is_named(node, "SSLEngine")) {
        tls->is_on = is_switched_on(node, p);
    }
    else if (is_named(node, "SSLCertificateFile")) {
        APR_ARRAY_PUSH(tls->certs, const char *) = first_path(node, p);
    }
    else if (is_named(node, "SSLCertificateChainFile")) {
        tls->chain = first_path(node, p);
    }
    else if (is_named(node, "SSLCACertificateFile")) {
        tls->authorities = first_path(node, p);
    }
    else if (is_named(node, "MDStapling")) {
        written->is_md_stapling |= is_switched_on(node, p);
    }
}

static const ap_directive_t *find_host(const server_rec *s)
{
    const ap_directive_t *node;

    for (node = ap_conftree; node; node = node->next) {
        if (is_named(node, "<VirtualHost") && s->defn_name
            && node->line_num == (int)s->defn_line_number
            && !strcmp(node->filename, s->defn_name)) {
            return node->first_child;
        }
    }
    return NULL;
}

/* What a virtual host does not say it has from the main server. */
static void inherit(staple_preflight_tls_t *tls,
                    const staple_preflight_tls_t *main, apr_pool_t *p)
{
    if (tls->is_on < 0) {
        tls->is_on = main->is_on;
    }
    if (!tls->chain) {
        tls->chain = main->chain;
    }
    if (!tls->authorities) {
        tls->authorities = main->authorities;
    }
    tls->certs = apr_array_append(p, tls->certs, main->certs);
}

/* httpd's list has the virtual hosts from the last to the first. */
static void reverse_hosts(apr_array_header_t *servers)
{
    staple_preflight_tls_t *list = (staple_preflight_tls_t *)servers->elts;
    int i, j;

    for (i = 1, j = servers->nelts - 1; i < j; i++, j--) {
        staple_preflight_tls_t tls = list[i];

        list[i] = list[j];
        list[j] = tls;
    }
}

staple_preflight_written_t *staple_preflight_read(const server_rec *main,
                                                  apr_pool_t *p)
{
    staple_preflight_written_t *written = apr_pcalloc(p, sizeof(*written));
    const ap_directive_t *node;
    const server_rec *s;

    written->servers = apr_array_make(p, 8, sizeof(staple_preflight_tls_t));
    for (s = main; s; s = s->next) {
        staple_preflight_tls_t *tls = add_server(written, s, p);

        for (node = s == main ? ap_conftree : find_host(s); node;
             node = node->next) {
            read_node(written, tls, node, p);
        }
        if (s != main) {
            inherit(tls, (staple_preflight_tls_t *)written->servers->elts, p);
        }
    }
    reverse_hosts(written->servers);
    return written;
}

/* ----- certificates ----- */

typedef STACK_OF(X509) chain_t;

static void read_all(chain_t *stack, const char *path)
{
    BIO *bio = path ? BIO_new_file(path, "r") : NULL;
    X509 *x;

    while (bio && (x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
        if (!sk_X509_push(stack, x)) {
            X509_free(x);
            break;
        }
    }
    BIO_free(bio);
    ERR_clear_error();
}

static void describe(staple_preflight_pair_t *pair, const chain_t *stack,
                     apr_pool_t *p)
{
    X509 *leaf = sk_X509_value(stack, 0);
    X509 *issuer = staple_x509_find_issuer(stack, leaf);
    unsigned char id[EVP_MAX_MD_SIZE];

    if (X509_digest(leaf, EVP_sha1(), id, NULL)) {
        memcpy(pair->id, id, sizeof(pair->id));
    }
    pair->subject = staple_x509_name_text(X509_get_subject_name(leaf), p);
    pair->is_self_signed = !X509_NAME_cmp(X509_get_subject_name(leaf),
                                          X509_get_issuer_name(leaf));
    pair->pem = issuer ? staple_x509_pem(leaf, issuer, p) : NULL;
}

const char *staple_preflight_load(staple_preflight_pair_t *pair,
                                  const char *path,
                                  const staple_preflight_tls_t *tls,
                                  apr_pool_t *p)
{
    chain_t *stack = sk_X509_new_null();
    const char *wrong = NULL;

    memset(pair, 0, sizeof(*pair));
    if (!stack) {
        return "no memory";
    }
    read_all(stack, path);
    if (sk_X509_num(stack)) {
        read_all(stack, tls->chain);
        read_all(stack, tls->authorities);
        describe(pair, stack, p);
    }
    else {
        wrong = "no PEM certificate can be read from it";
    }
    sk_X509_pop_free(stack, X509_free);
    ERR_clear_error();
    return wrong;
}
