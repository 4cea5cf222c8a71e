/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What mod_ssl's directives say of certificates, see include/staple_sslconf.h
 * for the contract.
 *
 * The one idea: mod_ssl keeps its directives to itself, but httpd's
 * configuration tree is there for all to read until the server has started. A
 * server is known by the file and line of its <VirtualHost>. Includes,
 * IfModule, IfDefine and macros are dissolved in the tree already.
 */

#include "staple_sslconf.h"

#include <string.h>

#include <http_config.h>
#include <http_core.h>
#include <util_cfgtree.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
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

static staple_sslconf_server_t *add_server(staple_sslconf_t *conf,
                                           const server_rec *s, apr_pool_t *p)
{
    staple_sslconf_server_t *server = apr_array_push(conf->servers);

    memset(server, 0, sizeof(*server));
    server->server = s;
    server->is_on = -1;
    server->certs = apr_array_make(p, 1, sizeof(const char *));
    return server;
}

static void read_node(staple_sslconf_t *conf, staple_sslconf_server_t *server,
                      const ap_directive_t *node, apr_pool_t *p)
{
    const struct {
        const char *name;
        const char **path;
    } paths[] = {
        { "SSLCertificateChainFile", &server->chain },
        { "SSLCACertificateFile", &server->ca_file },
        { "SSLCACertificatePath", &server->ca_path }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        if (is_named(node, paths[i].name)) {
            *paths[i].path = first_path(node, p);
        }
    }
    if (is_named(node, "SSLEngine")) {
        server->is_on = is_switched_on(node, p);
    }
    else if (is_named(node, "SSLCertificateFile")) {
        const char *word = first_word(node, p);

        APR_ARRAY_PUSH(server->certs, const char *)
            = staple_sslconf_is_on_token(word) ? word : first_path(node, p);
    }
    else if (is_named(node, "MDStapling")) {
        conf->is_md_stapling |= is_switched_on(node, p);
    }
}

/* A place in the configuration, as the name of a virtual host. */
static const char *place_text(const char *file, int line, apr_pool_t *p)
{
    return apr_psprintf(p, "%d %s", line, file);
}

/* The virtual hosts of the tree by their place. */
static apr_hash_t *index_hosts(apr_pool_t *p)
{
    apr_hash_t *hosts = apr_hash_make(p);
    const ap_directive_t *node;

    for (node = ap_conftree; node; node = node->next) {
        if (is_named(node, "<VirtualHost")) {
            apr_hash_set(hosts, place_text(node->filename, node->line_num, p),
                         APR_HASH_KEY_STRING, node);
        }
    }
    return hosts;
}

static const ap_directive_t *find_host(apr_hash_t *hosts, const server_rec *s,
                                       apr_pool_t *p)
{
    const ap_directive_t *node
        = s->defn_name
          ? apr_hash_get(hosts, place_text(s->defn_name,
                                           (int)s->defn_line_number, p),
                         APR_HASH_KEY_STRING)
          : NULL;

    return node ? node->first_child : NULL;
}

/* Each of a virtual host's files takes the place of one of the main server's.
 */
static void inherit_certs(apr_array_header_t *certs,
                          const apr_array_header_t *global)
{
    int i;

    for (i = certs->nelts; i < global->nelts; i++) {
        APR_ARRAY_PUSH(certs, const char *)
            = APR_ARRAY_IDX(global, i, const char *);
    }
}

/* What a virtual host does not say it has from the main server. */
static void inherit(staple_sslconf_server_t *server,
                    const staple_sslconf_server_t *global)
{
    if (server->is_on < 0) {
        server->is_on = global->is_on;
    }
    if (!server->chain) {
        server->chain = global->chain;
    }
    if (!server->ca_file) {
        server->ca_file = global->ca_file;
    }
    if (!server->ca_path) {
        server->ca_path = global->ca_path;
    }
    inherit_certs(server->certs, global->certs);
}

/* httpd's list has the virtual hosts from the last to the first. */
static void reverse_hosts(apr_array_header_t *servers)
{
    staple_sslconf_server_t *list = (staple_sslconf_server_t *)servers->elts;
    int i, j;

    for (i = 1, j = servers->nelts - 1; i < j; i++, j--) {
        staple_sslconf_server_t server = list[i];

        list[i] = list[j];
        list[j] = server;
    }
}

staple_sslconf_t *staple_sslconf_read(const server_rec *main_server,
                                      apr_pool_t *p)
{
    staple_sslconf_t *conf = apr_pcalloc(p, sizeof(*conf));
    apr_hash_t *hosts = index_hosts(p);
    const ap_directive_t *node;
    const server_rec *s;

    conf->servers = apr_array_make(p, 8, sizeof(staple_sslconf_server_t));
    for (s = main_server; s; s = s->next) {
        staple_sslconf_server_t *server = add_server(conf, s, p);

        for (node = s == main_server ? ap_conftree : find_host(hosts, s, p);
             node; node = node->next) {
            read_node(conf, server, node, p);
        }
        if (s != main_server) {
            inherit(server, (staple_sslconf_server_t *)conf->servers->elts);
        }
    }
    reverse_hosts(conf->servers);
    return conf;
}

apr_port_t staple_sslconf_port(const server_rec *s)
{
    apr_port_t port = s->port;

    if (!port && s->addrs) {
        port = s->addrs->host_port;
    }
    return port ? port : 443;
}

/* ----- certificates ----- */

int staple_sslconf_is_on_token(const char *path)
{
    return !ap_cstr_casecmpn(path, "pkcs11:", 7);
}

typedef STACK_OF(X509) chain_t;

static void read_all(chain_t *stack, const char *path)
{
    BIO *bio = path ? BIO_new_file(path, "r") : NULL;
    X509 *x;

    while (bio && (x = staple_x509_next(bio))) {
        if (!sk_X509_push(stack, x)) {
            X509_free(x);
            break;
        }
    }
    BIO_free(bio);
    ERR_clear_error();
}

static int has_file(const staple_sslconf_server_t *server, const char *path)
{
    int i;

    for (i = 0; i < server->certs->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(server->certs, i, const char *), path)) {
            return 1;
        }
    }
    return 0;
}

/* As mod_ssl reads it: where it is one of the server's own files, too, the
 * first certificate in it is not of the chain. */
static void read_chain(chain_t *stack, const staple_sslconf_server_t *server)
{
    int first = sk_X509_num(stack);

    read_all(stack, server->chain);
    if (has_file(server, server->chain)) {
        X509_free(sk_X509_delete(stack, first));
    }
}

/* A certificate and what mod_ssl sends behind it: what follows in its file. But
 * with SSLCertificateChainFile, that is not read, and what is in that one is
 * sent. The caller frees it; empty: no certificate can be read; NULL: no
 * memory. */
static chain_t *read_sent(const char *path,
                          const staple_sslconf_server_t *server)
{
    chain_t *stack = sk_X509_new_null();

    if (!stack) {
        return NULL;
    }
    read_all(stack, path);
    if (server->chain && sk_X509_num(stack)) {
        while (sk_X509_num(stack) > 1) {
            X509_free(sk_X509_pop(stack));
        }
        read_chain(stack, server);
    }
    return stack;
}

/* The authorities that a server checks its clients by: a file, and a directory
 * with names that are hashes. mod_ssl looks there last. */
static X509_STORE *authorities_of(const staple_sslconf_server_t *server)
{
    X509_STORE *store = X509_STORE_new();

    if (store && server->ca_file) {
        X509_STORE_load_locations(store, server->ca_file, NULL);
    }
    if (store && server->ca_path) {
        X509_STORE_load_locations(store, NULL, server->ca_path);
    }
    return store;
}

/* The caller frees it. */
static X509 *find_authority(X509 *leaf, const staple_sslconf_server_t *server)
{
    X509_STORE *store = authorities_of(server);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509 *issuer = NULL;

    if (store && ctx && X509_STORE_CTX_init(ctx, store, NULL, NULL)
        && X509_STORE_CTX_get1_issuer(&issuer, ctx, leaf) != 1) {
        issuer = NULL;
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return issuer;
}

static void fill_pair(staple_sslconf_pair_t *pair, X509 *x,
                      const chain_t *stack,
                      const staple_sslconf_server_t *server, apr_pool_t *p)
{
    X509 *issuer = staple_x509_find_issuer(stack, x);
    X509 *authority = issuer ? NULL : find_authority(x, server);
    X509 *found = issuer ? issuer : authority;
    unsigned char id[EVP_MAX_MD_SIZE];

    memset(pair, 0, sizeof(*pair));
    if (X509_digest(x, EVP_sha1(), id, NULL)) {
        memcpy(pair->id, id, sizeof(pair->id));
    }
    pair->subject = staple_x509_name_text(X509_get_subject_name(x), p);
    pair->has_issuer = found != NULL;
    pair->pem = staple_x509_pem(x, found ? found : x, p);
    X509_free(authority);
}

const char *staple_sslconf_load(staple_sslconf_pair_t *pair, const char *path,
                                const staple_sslconf_server_t *server,
                                apr_pool_t *p)
{
    chain_t *stack = read_sent(path, server);
    const char *wrong = NULL;

    if (!stack) {
        return "no memory";
    }
    if (sk_X509_num(stack)) {
        fill_pair(pair, sk_X509_value(stack, 0), stack, server, p);
    }
    else {
        wrong = "no PEM certificate can be read from it";
    }
    sk_X509_pop_free(stack, X509_free);
    ERR_clear_error();
    return wrong;
}

apr_array_header_t *
staple_sslconf_load_chain(const char *path,
                          const staple_sslconf_server_t *server, apr_pool_t *p)
{
    apr_array_header_t *links = apr_array_make(p, 2,
                                               sizeof(staple_sslconf_pair_t));
    chain_t *stack = read_sent(path, server);
    int i;

    for (i = 1; stack && i < sk_X509_num(stack); i++) {
        X509 *x = sk_X509_value(stack, i);

        if (staple_x509_has_responder(x)
            && X509_cmp(x, sk_X509_value(stack, 0))) {
            fill_pair(apr_array_push(links), x, stack, server, p);
        }
    }
    sk_X509_pop_free(stack, X509_free);
    ERR_clear_error();
    return links;
}

/* ----- a start ----- */

/* What mod_ssl has for one server. */
typedef struct seen_t {
    const server_rec *server;
    const apr_array_header_t *files; /* const char *; mod_ssl's, and modules
                                  may still add some */
    int configured;            /* how many of them SSLCertificateFile names */
    int is_fallback;           /* there were none: a module lends one */
    int primed;                /* how many of them were handed over */
} seen_t;

struct staple_sslconf_start_t {
    apr_array_header_t *servers; /* seen_t, in mod_ssl's order */
};

staple_sslconf_start_t *staple_sslconf_start(apr_pool_t *p)
{
    staple_sslconf_start_t *start = apr_pcalloc(p, sizeof(*start));

    start->servers = apr_array_make(p, 8, sizeof(seen_t));
    return start;
}

void staple_sslconf_note_files(staple_sslconf_start_t *start,
                               const server_rec *s,
                               const apr_array_header_t *files)
{
    seen_t *seen = apr_array_push(start->servers);

    memset(seen, 0, sizeof(*seen));
    seen->server = s;
    seen->files = files;
    seen->configured = files->nelts;
}

/* mod_ssl finishes one server before it begins the next. */
static seen_t *find_last(const staple_sslconf_start_t *start,
                         const server_rec *s)
{
    seen_t *last = start->servers->nelts
                   ? &APR_ARRAY_IDX(start->servers, start->servers->nelts - 1,
                                    seen_t)
                   : NULL;

    return last && last->server == s ? last : NULL;
}

void staple_sslconf_note_fallback(staple_sslconf_start_t *start,
                                  const server_rec *s)
{
    seen_t *last = find_last(start, s);

    if (last) {
        last->is_fallback = 1;
    }
}

void staple_sslconf_note_primed(staple_sslconf_start_t *start,
                                const server_rec *s)
{
    seen_t *last = find_last(start, s);

    if (last) {
        last->primed++;
    }
}

static const staple_sslconf_server_t *find_server(const staple_sslconf_t *conf,
                                                  const server_rec *s)
{
    int i;

    for (i = 0; i < conf->servers->nelts; i++) {
        const staple_sslconf_server_t *server
            = &APR_ARRAY_IDX(conf->servers, i, staple_sslconf_server_t);

        if (server->server == s) {
            return server;
        }
    }
    return NULL;
}

/* Where a module has added files, mod_ssl forgets SSLCertificateChainFile. */
static staple_sslconf_server_t as_used(const staple_sslconf_server_t *server,
                                       const seen_t *seen)
{
    staple_sslconf_server_t used = *server;

    if (seen->files->nelts > seen->configured) {
        used.chain = NULL;
    }
    return used;
}

static void visit_files(const seen_t *seen,
                        const staple_sslconf_server_t *server,
                        staple_sslconf_visit_fn *visit, apr_pool_t *ptemp)
{
    staple_sslconf_server_t used = as_used(server, seen);
    staple_sslconf_pair_t pair;
    int i;

    for (i = 0; i < seen->files->nelts; i++) {
        const char *file = APR_ARRAY_IDX(seen->files, i, const char *);

        if (!staple_sslconf_is_on_token(file)
            && !staple_sslconf_load(&pair, file, &used, ptemp)
            && !pair.has_issuer) {
            visit((server_rec *)seen->server, file, used.chain, &pair, ptemp);
        }
    }
}

void staple_sslconf_visit_without_issuer(const staple_sslconf_start_t *start,
                                         const server_rec *main_server,
                                         staple_sslconf_visit_fn *visit,
                                         apr_pool_t *ptemp)
{
    const staple_sslconf_t *conf = NULL;
    int i;

    for (i = 0; i < start->servers->nelts; i++) {
        const seen_t *seen = &APR_ARRAY_IDX(start->servers, i, seen_t);
        const staple_sslconf_server_t *server;

        if (seen->is_fallback || seen->primed >= seen->files->nelts) {
            continue;
        }
        conf = conf ? conf : staple_sslconf_read(main_server, ptemp);
        server = find_server(conf, seen->server);
        if (server) {
            visit_files(seen, server, visit, ptemp);
        }
    }
}
