/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mod_staple: OCSP stapling for httpd, in place of mod_ssl's own.
 *
 * This file is the table of contents: the module record, the hooks and the
 * life cycle. Two ways lead through the house (docs/design.md):
 *
 *   handshake  mod_ssl asks on_get_resp; one look-up and one copy out of the
 *              ring (staple_handshake), and nothing else
 *   refresh    one process beside the children (staple_refresher) asks the
 *              responders and publishes to the ring
 *
 * The life: pre_config makes an empty registry; mod_ssl hands its
 * certificates to on_prime during its post_config; our post_config, right
 * after it, builds this generation's ring and forks the refresher; each child
 * waits a moment for what is missing, while the warm-up lasts.
 */

#include <limits.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <http_ssl.h>
#include <ap_mpm.h>
#include <mpm_common.h>
#include <mod_status.h>
#include <util_mutex.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_config.h"
#include "staple_deny.h"
#include "staple_generation.h"
#include "staple_handshake.h"
#include "staple_pool.h"
#include "staple_preflight.h"
#include "staple_process.h"
#include "staple_refresher.h"
#include "staple_rules.h"
#include "staple_share.h"
#include "staple_sslconf.h"
#include "staple_sslctx.h"
#include "staple_status.h"
#include "staple_text.h"
#include "staple_url.h"

#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 105)
#error "httpd 2.4.48 or later is needed: it has the ssl_ocsp hooks"
#endif

extern module AP_MODULE_DECLARE_DATA staple_module;

/* There was a time when these were locks. A configuration may still name them
 * in a Mutex directive. */
static const char *const mutex_names[] = {
    "staple-cache", "staple-refresh", "staple-share"
};

/* What belongs to this generation of the server: all that a configuration
 * pass builds, in pconf. */
typedef struct generation_t {
    server_rec *server;
    staple_cert_registry_t *registry;
    const apr_array_header_t *no_files; /* of the hosts without
                                       StapleResponseFile */
    apr_pool_t *starting;           /* until the ring is there */
    apr_pool_t *scratch;            /* of on_prime; it and the next two are in
                                       starting */
    apr_hash_t *ranks;              /* server_rec * to place_t * */
    staple_sslconf_start_t *start;  /* what mod_ssl uses */
    staple_sslctx_t *sslctx;        /* the SSL_CTX that it has made */
    staple_cache_t *cache;          /* NULL: nothing is stapled */
    staple_process_t *process;      /* the refresher; NULL where cache is */
    staple_status_conf_t status;    /* for the status page */
} generation_t;

/* Made anew by every pre_config, so that nothing outlives a restart. */
static generation_t *current;

/* ----- certificates ----- */

static staple_cert_policy_t policy_of(const staple_server_conf_t *conf)
{
    staple_cert_policy_t policy;

    memset(&policy, 0, sizeof(policy));
    policy.times.skew = conf->skew;
    policy.times.max_age = conf->max_age;
    policy.times.default_age = STAPLE_RULES_DEFAULT_AGE;
    policy.timeout = conf->responder_timeout;
    policy.refresh_age = conf->standard_timeout;
    policy.retry_cap = conf->error_timeout;
    policy.return_errors = conf->return_errors;
    policy.fake_try_later = conf->fake_try_later;
    policy.force_url = conf->force_url && *conf->force_url ? conf->force_url
                                                           : NULL;
    if (conf->proxy) {
        policy.proxy = conf->proxy->url;
        policy.proxy_shown = conf->proxy->shown;
        policy.proxy_credentials = conf->proxy->credentials;
    }
    policy.greatest_age = conf->greatest_age;
    policy.revoked_recheck = conf->revoked_recheck;
    policy.hash = (staple_cert_hash_e)conf->cert_id_hash;
    policy.fetch_issuer = conf->fetch_issuer;
    policy.response_files = conf->response_files
                            ? conf->response_files
                            : current->no_files;
    return policy;
}

/* Names come from customers on a shared host, and the log may be JSON. */
static const char *name_text(const char *name, apr_pool_t *p)
{
    apr_size_t len = strlen(name);

    return staple_text_name(name, len, len, p);
}

static const char *host_of(const server_rec *s, apr_pool_t *p)
{
    return apr_psprintf(p, "%s:%u",
                        s->server_hostname ? name_text(s->server_hostname, p)
                                           : "_default_",
                        (unsigned)staple_sslconf_port(s));
}

/* A server's place in the configuration, smallest first. */
typedef struct place_t {
    const server_rec *server;
    int rank;
} place_t;

static void note_rank(const server_rec *s, int rank)
{
    place_t *place = apr_palloc(current->starting, sizeof(*place));

    place->server = s;
    place->rank = rank;
    apr_hash_set(current->ranks, &place->server, sizeof(place->server), place);
}

static int rank_of(const server_rec *s)
{
    const place_t *place = apr_hash_get(current->ranks, &s, sizeof(s));

    return place ? place->rank : INT_MAX;
}

/* The first pass of a start, of which nothing is kept. */
static int is_dry_run(void)
{
    return ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
}

/* With LogLevel staple:trace2 the log tells a story: the hooks in their order,
 * and between them the states of each exchange (refresh/log.c). */
static void trace_hook(const server_rec *s, const char *hook)
{
    ap_log_error(APLOG_MARK, APLOG_TRACE2, 0, s, "hook: %s", hook);
}

/* What is handed over when the ring is there already comes too late for it. */
static int is_starting(void)
{
    return current->starting != NULL;
}

/* One more virtual host of a certificate; NULL: it is none. */
static staple_cert_t *enter(server_rec *s, staple_cert_use_t *use,
                            const staple_cert_policy_t *policy)
{
    const char *reason;
    staple_cert_t *cert;

    use->host = host_of(s, current->scratch);
    use->rank = rank_of(s);
    use->policy = policy;
    cert = staple_cert_add(current->registry, use, &reason);
    if (!cert) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0102: %s: a "
                     "certificate cannot be stapled: %s", use->host, reason);
    }
    else if (cert->rank == use->rank) {
        cert->server = s;
    }
    return cert;
}

static int on_prime(server_rec *s, apr_pool_t *p, const char *id,
                    apr_size_t id_len, const char *pem)
{
    const staple_server_conf_t *conf = staple_config_of(s);
    staple_cert_use_t use = { .id = id, .id_len = id_len, .pem = pem };
    staple_cert_policy_t policy;

    (void)p;
    trace_hook(s, "ssl_ocsp_prime");
    if (!is_starting()) {
        return DECLINED;
    }
    staple_sslconf_note_primed(current->start, s);
    if (!conf->use_stapling) { /* prime is called all the same */
        return DECLINED;
    }
    if (is_dry_run() && !staple_preflight_is_wanted()) {
        return OK; /* claimed, so that mod_ssl says nothing; but not read */
    }
    apr_pool_clear(current->scratch);
    policy = policy_of(conf);
    return enter(s, &use, &policy) ? OK : DECLINED;
}

/* A certificate that is sent behind a server's own. The responder of
 * SSLStaplingForceURL answers for that one, not for a CA's; and CAs sign a
 * response about a CA for months, which no browser minds that reads it. */
static staple_cert_t *add_of_chain(server_rec *s, staple_cert_use_t *use)
{
    staple_cert_policy_t policy = policy_of(staple_config_of(s));

    apr_pool_clear(current->scratch);
    policy.force_url = NULL;
    policy.greatest_age = 0; /* no limit */
    return enter(s, use, &policy);
}

static staple_sslctx_must_e must_of(int word)
{
    switch (word) {
    case STAPLE_MUST_STRICT:
        return STAPLE_SSLCTX_MUST_AVOID;
    case STAPLE_MUST_REFUSE:
        return STAPLE_SSLCTX_MUST_REFUSE;
    default:
        return STAPLE_SSLCTX_MUST_NOTHING;
    }
}

static staple_sslctx_conf_t sslctx_conf(const staple_main_conf_t *global)
{
    staple_sslctx_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    conf.is_chain = global->chain;
    conf.must = must_of(global->must_staple);
    conf.registry = current->registry;
    conf.add = add_of_chain;
    return conf;
}

/* mod_ssl has finished a server; all certificates were primed. */
static int on_init_server(server_rec *s, apr_pool_t *p, int is_proxy,
                          struct ssl_ctx_st *ctx)
{
    staple_sslctx_conf_t conf = sslctx_conf(staple_config_of(s)->main);

    trace_hook(s, "init_server");
    if (is_starting() && !is_proxy && !is_dry_run()
        && staple_config_of(s)->use_stapling) {
        staple_sslctx_take(current->sslctx, &conf, s, ctx, p);
    }
    return OK;
}

static int on_pre_handshake(conn_rec *c, struct ssl_st *ssl, int is_proxy)
{
    (void)c;
    if (!is_proxy) {
        staple_sslctx_meet(current->sslctx, ssl);
    }
    return OK;
}

static int on_add_cert_files(server_rec *s, apr_pool_t *p,
                             apr_array_header_t *certs,
                             apr_array_header_t *keys)
{
    (void)p;
    (void)keys;
    trace_hook(s, "ssl_add_cert_files");
    if (is_starting()) {
        staple_sslconf_note_files(current->start, s, certs);
    }
    return DECLINED;
}

static int on_add_fallback_files(server_rec *s, apr_pool_t *p,
                                 apr_array_header_t *certs,
                                 apr_array_header_t *keys)
{
    (void)p;
    (void)certs;
    (void)keys;
    trace_hook(s, "ssl_add_fallback_cert_files");
    if (is_starting()) {
        staple_sslconf_note_fallback(current->start, s);
    }
    return DECLINED;
}

/* Where mod_ssl looks for what is sent behind a certificate. */
static const char *chain_place(const char *file, const char *chain,
                               apr_pool_t *p)
{
    return chain ? apr_psprintf(p, "%s (SSLCertificateChainFile; because of "
                                "it, only the first certificate of %s is used)",
                                name_text(chain, p), name_text(file, p))
                 : name_text(file, p);
}

/* What the chain lacks. Another virtual host may have it: then nothing is
 * fetched. */
static const char *gap_text(const staple_cert_t *cert, apr_pool_t *p)
{
    return cert->subject
           ? apr_psprintf(p, "the certificate of %s is missing",
                          cert->issuer_dn)
           : apr_psprintf(p, "to staple, the certificate of %s is fetched from "
                          "%s, but clients need it, too", cert->issuer_dn,
                          APR_ARRAY_IDX(cert->issuer_urls, 0, const char *));
}

/* mod_ssl says AH02217 and AH02604 of it, and hands nothing over. */
static void add_without_issuer(server_rec *s, const char *file,
                               const char *chain,
                               const staple_sslconf_pair_t *pair,
                               apr_pool_t *ptemp)
{
    const char *place = chain_place(file, chain, ptemp);
    const staple_cert_t *cert;

    if (on_prime(s, ptemp, (const char *)pair->id, sizeof(pair->id),
                 pair->pem) != OK) {
        return;
    }
    cert = staple_cert_find(current->registry, (const char *)pair->id,
                            sizeof(pair->id));
    if (cert->scope == STAPLE_CERT_APPLIES) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0154: %s (%s): the "
                     "chain that clients get is incomplete: %s; append it to "
                     "%s", cert->name, host_of(s, ptemp),
                     gap_text(cert, ptemp), place);
    }
    else if (cert->scope == STAPLE_CERT_NO_ISSUER) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0152: %s (%s) is not "
                     "stapled: %s, and clients need it, too; append the "
                     "certificate of %s to %s", cert->name, host_of(s, ptemp),
                     staple_cert_scope_text(cert->scope), cert->issuer_dn,
                     place);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0153: %s (%s) is not "
                     "stapled: %s; SSLUseStapling off in this virtual host "
                     "stops mod_ssl's messages about it (AH02217, AH02604)",
                     cert->name, host_of(s, ptemp),
                     staple_cert_scope_text(cert->scope));
    }
}

/* ----- the handshake ----- */

static int on_get_resp(server_rec *s, conn_rec *c, const char *id,
                       apr_size_t id_len, ap_ssl_ocsp_copy_resp *cb,
                       void *userdata)
{
    const staple_cert_t *cert = staple_cert_find(current->registry, id,
                                                 id_len);
    const char *outcome = STAPLE_HANDSHAKE_NONE;

    if (!cert) {
        return DECLINED;
    }
    if (cert->slot >= 0 && staple_config_of(s)->use_stapling) {
        outcome = staple_handshake_answer(current->cache, cert, cb,
                                          userdata);
    }
    else { /* mod_ssl reads what the callback leaves */
        cb(NULL, 0, userdata);
    }
    ap_log_cerror(APLOG_MARK, APLOG_TRACE2, 0, c, "hook: ssl_ocsp_get_resp, "
                  "%s: %s", cert->name, outcome);
    if (staple_cert_may_be_stapled(cert->scope)) {
        /* For on_post_read_request: constant words. */
        ap_set_module_config(c->conn_config, &staple_module, (void *)outcome);
    }
    return OK;
}

/* LogFormat %{STAPLE_STATUS}e, and reqenv() in expressions. HTTP/2 gives a
 * request a connection of its own; the handshake was its master's. */
static int on_post_read_request(request_rec *r)
{
    conn_rec *c = r->connection->master ? r->connection->master
                                        : r->connection;
    const char *word = ap_get_module_config(c->conn_config, &staple_module);

    if (word) {
        apr_table_setn(r->subprocess_env, "STAPLE_STATUS", word);
    }
    return DECLINED;
}

/* ----- the parent and its children ----- */

static int on_monitor(apr_pool_t *p, server_rec *s)
{
    trace_hook(s, "monitor");
    if (!current->process) {
        return DECLINED;
    }
    staple_generation_check_file(current->cache, s, p);
    staple_process_supervise(current->process);
    return DECLINED;
}

static void on_child_status(server_rec *s, pid_t pid, ap_generation_t gen,
                            int slot, mpm_child_status state)
{
    (void)gen;
    trace_hook(s, "child_status");
    if (current->process) {
        staple_process_note_child(current->process, slot,
                                  state == MPM_CHILD_STARTED ? pid : 0);
    }
}

static void on_child_init(apr_pool_t *p, server_rec *s)
{
    (void)p;
    trace_hook(s, "child_init");
    staple_generation_only_read(current->cache);
    if (current->process) {
        staple_process_leave(current->process);
        staple_refresher_await(current->process, current->cache,
                               current->registry, s);
    }
}

/* ----- start ----- */

/* What a start needs and nobody afterwards. */
static apr_status_t begin_starting(apr_pool_t *p)
{
    apr_status_t rv = staple_pool_make(&current->starting, p, 0,
                                       "staple_starting");

    if (!rv) {
        rv = apr_pool_create(&current->scratch, current->starting);
    }
    if (!rv) {
        apr_pool_tag(current->scratch, "staple_prime");
        current->ranks = apr_hash_make(current->starting);
        current->start = staple_sslconf_start(current->starting);
    }
    return rv;
}

static void end_starting(void)
{
    apr_pool_destroy(current->starting);
    current->starting = current->scratch = NULL;
    current->ranks = NULL;
    current->start = NULL;
}

static int on_pre_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp)
{
    apr_size_t i;

    (void)plog;
    (void)ptemp;
    current = apr_pcalloc(p, sizeof(*current));
    current->registry = staple_cert_registry_make(p);
    current->no_files = apr_array_make(p, 0, sizeof(const char *));
    if (begin_starting(p)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    current->sslctx = staple_sslctx_make(p);
    for (i = 0; i < sizeof(mutex_names) / sizeof(*mutex_names); i++) {
        if (ap_mutex_register(p, mutex_names[i], NULL, APR_LOCK_DEFAULT, 0)) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

/* Where responders may not be. What SSLStaplingForceURL names was not chosen by
 * whoever had a certificate issued. */
static void make_deny_list(server_rec *s, apr_pool_t *p)
{
    staple_main_conf_t *global = staple_config_of(s)->main;
    staple_url_t url;

    if (!global->deny) {
        global->deny = staple_deny_make(p);
    }
    for (; s; s = s->next) {
        const char *forced = staple_config_of(s)->force_url;

        if (forced && staple_url_parse(&url, forced, p) == STAPLE_URL_OK) {
            staple_deny_trust(global->deny, url.host, url.port);
        }
    }
}

/* Runs before mod_ssl's post_config, which primes us and wants the defaults. */
static int on_check_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                           server_rec *s)
{
    int rank = 0;

    (void)plog;
    (void)ptemp;
    trace_hook(s, "check_config");
    current->server = s;
    /* The main server comes first, and then the virtual hosts from the last of
     * the configuration to the first. */
    staple_config_finish(staple_config_of(s));
    note_rank(s, INT_MIN);
    for (s = s->next; s; s = s->next) {
        staple_config_finish(staple_config_of(s));
        note_rank(s, rank--);
    }
    make_deny_list(current->server, p);
    return OK;
}

static apr_status_t open_share(apr_pool_t *p)
{
    staple_share_t *share = staple_config_of(current->server)->main->share;
    apr_status_t rv;

    if (!share) {
        return APR_SUCCESS;
    }
    staple_share_set_identity(share, staple_generation_identity());
    rv = staple_share_init(share, current->server, p);
    if (rv) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, current->server, "STP0115: "
                     "the share %s cannot be used", staple_share_name(share));
    }
    return rv;
}

static void log_notes(const server_rec *s, apr_pool_t *p)
{
    const apr_array_header_t *notes = staple_config_notes(s, p);
    int i;

    for (i = 0; i < notes->nelts; i++) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0150: %s",
                     APR_ARRAY_IDX(notes, i, const char *));
    }
}

static void warn_without_mod_ssl(server_rec *s)
{
    if (ap_find_linked_module("mod_ssl.c")
        || ap_find_linked_module("mod_tls.c")) {
        return;
    }
    for (; s; s = s->next) {
        if (staple_config_of(s)->use_stapling) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0113: "
                         "SSLUseStapling is on but mod_ssl is not loaded; "
                         "nothing is stapled");
            return;
        }
    }
}

static void prepare_status(const staple_main_conf_t *conf, apr_pool_t *p)
{
    staple_status_conf_t *status = &current->status;

    status->cache = current->cache;
    status->ring_path = current->cache
                        ? staple_generation_ring_file(current->cache) : NULL;
    status->registry = current->registry;
    status->process = current->process;
    status->share = conf->share ? staple_share_name(conf->share) : NULL;
    status->notes = staple_config_notes(current->server, p);
    status->places = staple_status_find_places(p);
    status->may_act = conf->status_actions;
    status->token = staple_status_make_token(p);
}

/* All that children find ready, and the refresher; nothing, where no
 * certificate needs it. */
static apr_status_t set_up(const staple_main_conf_t *conf, apr_pool_t *p,
                           apr_pool_t *ptemp)
{
    apr_status_t rv = staple_generation_make_ring(
        &current->cache, current->registry, conf, current->server, p,
        current->starting);

    end_starting(); /* the refresher does not inherit it */
    if (rv || !current->cache) {
        return rv;
    }
    rv = open_share(p);
    return rv ? rv
              : staple_refresher_start(&current->process, current->cache,
                                       current->registry, current->server, p,
                                       ptemp);
}

static int on_post_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                          server_rec *s)
{
    const staple_main_conf_t *conf = staple_config_of(s)->main;
    staple_sslctx_conf_t more = sslctx_conf(conf);
    apr_status_t rv;

    (void)plog;
    if (is_dry_run()) {
        return OK; /* the dry run touches nothing */
    }
    trace_hook(s, "post_config");
    log_notes(s, current->starting);
    warn_without_mod_ssl(s);
    staple_sslconf_visit_without_issuer(current->start, s, add_without_issuer,
                                        current->starting);
    staple_cert_registry_finish(current->registry);
    if (staple_generation_log_certs(current->registry, s, current->starting)
        && conf->must_staple == STAPLE_MUST_REQUIRE) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    rv = set_up(conf, p, ptemp);
    if (rv) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "STP0114: OCSP stapling "
                     "cannot be set up");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    staple_sslctx_begin(current->sslctx, &more, current->cache, s);
    prepare_status(conf, p);
    return OK;
}

/* ----- httpd -t ----- */

static void on_test_config(apr_pool_t *p, server_rec *s)
{
    staple_preflight_conf_t conf;

    log_notes(s, p);
    if (!staple_preflight_is_wanted()) {
        return;
    }
    memset(&conf, 0, sizeof(conf));
    conf.server = s;
    conf.registry = current->registry;
    conf.prime = on_prime;
    conf.fetch = staple_refresher_limits(staple_config_of(s)->main);
    conf.is_chain = staple_config_of(s)->main->chain;
    conf.why_no_chain = staple_sslctx_foresee_chain(p);
    conf.add_of_chain = add_of_chain;
    if (staple_preflight_report(&conf, p)) {
        exit(1); /* httpd itself would say that all is well */
    }
}

/* ----- the rest of the hooks ----- */

static int on_request(request_rec *r)
{
    return strcmp(r->handler, STAPLE_STATUS_HANDLER)
           ? DECLINED
           : staple_status_handle(r, &current->status);
}

static int on_status(request_rec *r, int flags)
{
    return staple_status_section(r, flags, &current->status);
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const after_ssl[] = { "mod_ssl.c", "mod_tls.c", NULL };

    (void)p;
    ap_hook_pre_config(on_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_test_config(on_test_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(on_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(on_post_config, after_ssl, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(on_monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(on_child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(on_child_init, NULL, NULL, APR_HOOK_LAST);
    /* Before all that add files: mod_md ends the hook then. */
    ap_hook_ssl_add_cert_files(on_add_cert_files, NULL, NULL,
                               APR_HOOK_REALLY_FIRST);
    ap_hook_ssl_add_fallback_cert_files(on_add_fallback_files, NULL, NULL,
                                        APR_HOOK_REALLY_FIRST);
    /* Last: who claims a certificate today (mod_md) goes on doing so. */
    ap_hook_ssl_ocsp_prime_hook(on_prime, NULL, NULL, APR_HOOK_LAST);
    ap_hook_ssl_ocsp_get_resp_hook(on_get_resp, NULL, NULL, APR_HOOK_LAST);
    APR_OPTIONAL_HOOK(ssl, init_server, on_init_server, NULL, NULL,
                      APR_HOOK_LAST);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, on_pre_handshake, NULL, NULL,
                      APR_HOOK_MIDDLE);
    ap_hook_post_read_request(on_post_read_request, NULL, NULL,
                              APR_HOOK_MIDDLE);
    ap_hook_handler(on_request, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ap, status_hook, on_status, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(staple) = {
    STANDARD20_MODULE_STUFF,
    NULL,                   /* create per-directory record */
    NULL,                   /* merge per-directory records */
    staple_config_create,
    staple_config_merge,
    staple_config_commands,
    register_hooks,
    0                       /* flags */
};
