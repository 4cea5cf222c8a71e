/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mod_staple: OCSP stapling for httpd, in place of mod_ssl's own.
 *
 * This file is the table of contents: the module record, the hooks and the
 * life cycle. Two ways lead through the house (docs/design.md):
 *
 *   handshake  mod_ssl asks on_get_resp; one look-up and one copy out of the
 *              ring (staple_handshake), and nothing else
 *   refresh    the watchdog calls on_watchdog in every child; the one that
 *              leads asks the responders and publishes to the ring
 *              (staple_refresh)
 *
 * The life: pre_config makes an empty registry; mod_ssl hands its
 * certificates to on_prime during its post_config; our post_config, right
 * after it, builds this generation's ring; each child verifies what a ring
 * file brought, then its watchdog thread tries to lead.
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
#include <mod_watchdog.h>
#include <unixd.h>
#include <util_mutex.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_config.h"
#include "staple_deny.h"
#include "staple_fetch.h"
#include "staple_generation.h"
#include "staple_handshake.h"
#include "staple_ocsp.h"
#include "staple_preflight.h"
#include "staple_refresh.h"
#include "staple_rules.h"
#include "staple_share.h"
#include "staple_status.h"

#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 105)
#error "httpd 2.4.48 or later is needed: it has the ssl_ocsp hooks"
#endif

/* Since 2.4.49; before it, a stopping child waits for a step to end. */
#define HAVE_CHILD_STOPPING AP_MODULE_MAGIC_AT_LEAST(20120211, 110)

extern module AP_MODULE_DECLARE_DATA staple_module;

/* Names for the Mutex directive. */
#define CACHE_MUTEX "staple-cache"
#define LEAD_MUTEX "staple-refresh"
#define SHARE_MUTEX "staple-share"

/* A callback of our watchdog, which has a thread of its own, goes on for this
 * long while there is something to do; a child that stops ends it at once. */
#define STEP_SPAN apr_time_from_sec(1)

/* How long a child waits for others that verify what a file brought. */
#define CONFIRM_PATIENCE apr_time_from_sec(2)

/* StapleWarmup where it is not set. */
#define WARMUP apr_time_from_msec(500)
#define WARMUP_MUST_STAPLE apr_time_from_sec(5)

/* A child that is born later than this after the ring is not of the start. */
#define REQUIRE_SPAN apr_time_from_sec(10)

/* What belongs to this generation of the server: all that a configuration
 * pass builds, in pconf, and in a child what the child adds. */
typedef struct generation_t {
    server_rec *server;
    staple_cert_registry_t *registry;
    staple_cache_t *cache;          /* NULL: nothing is stapled */
    apr_global_mutex_t *cache_lock;
    apr_proc_mutex_t *lead_lock;    /* held by the child that leads */
    apr_global_mutex_t *share_lock; /* NULL: the share needs none */
    apr_thread_mutex_t *step;       /* held by the watchdog's thread while it
                                       works: guards the two below */
    staple_refresh_t *refresh;      /* of this child; NULL: it is ending */
    int is_leading;
    staple_status_conf_t status;    /* for the status page */
} generation_t;

/* Made anew by every pre_config, so that nothing outlives a restart. */
static generation_t *current;

/* ----- certificates ----- */

static staple_cert_policy_t policy_of(const staple_server_conf_t *conf,
                                      apr_pool_t *p)
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
    policy.force_url = conf->force_url;
    policy.proxy = conf->proxy_url;
    policy.hash = (staple_cert_hash_e)conf->cert_id_hash;
    policy.response_files = conf->response_files
                            ? conf->response_files
                            : apr_array_make(p, 0, sizeof(const char *));
    return policy;
}

static const char *host_of(const server_rec *s, apr_pool_t *p)
{
    apr_port_t port = s->port ? s->port
                      : s->addrs && s->addrs->host_port ? s->addrs->host_port
                      : 443;

    return apr_psprintf(p, "%s:%u",
                        s->server_hostname ? s->server_hostname : "_default_",
                        (unsigned)port);
}

static int on_prime(server_rec *s, apr_pool_t *p, const char *id,
                    apr_size_t id_len, const char *pem)
{
    const staple_server_conf_t *conf = staple_config_of(s);
    staple_cert_policy_t policy;
    const char *reason;

    if (!conf->use_stapling) { /* prime is called all the same */
        return DECLINED;
    }
    policy = policy_of(conf, s->process->pconf);
    if (!staple_cert_add(current->registry, id, id_len, pem, host_of(s, p),
                         conf->rank, &policy, &reason)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0102: %s: a "
                     "certificate cannot be stapled: %s", host_of(s, p),
                     reason);
        return DECLINED;
    }
    return OK;
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
        outcome = staple_handshake_answer(current->cache, cert, c, cb,
                                          userdata);
    }
    else { /* mod_ssl reads what the callback leaves */
        cb(NULL, 0, userdata);
    }
    /* For on_post_read_request: constant words. */
    ap_set_module_config(c->conn_config, &staple_module, (void *)outcome);
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

/* ----- the refresh ----- */

static void try_to_lead(void)
{
    apr_status_t rv = apr_proc_mutex_trylock(current->lead_lock);

    if (rv) {
        return; /* another child leads */
    }
    rv = staple_refresh_lead(current->refresh);
    if (rv) {
        apr_proc_mutex_unlock(current->lead_lock);
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, current->server,
                     "STP0110: OCSP responses cannot be refreshed in this "
                     "child; another will try");
        return;
    }
    current->is_leading = 1;
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, current->server, "STP0119: this "
                 "child leads the refresh of OCSP responses from now on");
}

/* In the watchdog's thread, current->step held. */
static void step(int state)
{
    if (state == AP_WATCHDOG_STATE_STOPPING) {
        if (current->is_leading) {
            current->is_leading = 0;
            staple_refresh_resign(current->refresh);
            apr_proc_mutex_unlock(current->lead_lock);
        }
        return;
    }
    if (!current->is_leading) {
        try_to_lead();
    }
    if (current->is_leading) {
        staple_refresh_step(current->refresh, STEP_SPAN);
    }
}

static apr_status_t on_watchdog(int state, void *data, apr_pool_t *ptemp)
{
    (void)data;
    (void)ptemp;
    if (!current->step) {
        return APR_SUCCESS; /* child_init has failed, and said so */
    }
    apr_thread_mutex_lock(current->step);
    if (current->refresh) {
        step(state);
        staple_ocsp_leave_thread(); /* it may be the last we see of it */
    }
    apr_thread_mutex_unlock(current->step);
    return APR_SUCCESS;
}

/* mod_watchdog does not join its threads in a child: ours goes on while the
 * child's pool goes, and while exit() takes OpenSSL down. What it would need
 * of either is taken back here, after its step. */
static apr_status_t on_child_end(void *data)
{
    (void)data;
    staple_refresh_stop(current->refresh);
    apr_thread_mutex_lock(current->step);
    staple_refresh_resign(current->refresh);
    current->refresh = NULL;
    if (current->is_leading) {
        current->is_leading = 0;
        /* Most kinds fall free with the process in any case; posixsem not. */
        apr_proc_mutex_unlock(current->lead_lock);
    }
    apr_thread_mutex_unlock(current->step);
    return APR_SUCCESS;
}

/* The locks that a thread may hold when the child's pool goes stay with the
 * process: the watchdog's has the one to lead, and one that hangs in the share
 * has the share's. A robust mutex is passed on only if it is still mapped when
 * its owner dies. */
static apr_status_t attach_locks(apr_pool_t *p)
{
    apr_pool_t *for_good = current->server->process->pconf;
    apr_status_t rv = apr_global_mutex_child_init(
        &current->cache_lock,
        apr_global_mutex_lockfile(current->cache_lock), p);

    if (!rv) {
        rv = apr_proc_mutex_child_init(
            &current->lead_lock, apr_proc_mutex_lockfile(current->lead_lock),
            for_good);
    }
    if (!rv && current->share_lock) {
        rv = apr_global_mutex_child_init(
            &current->share_lock,
            apr_global_mutex_lockfile(current->share_lock), for_good);
    }
    return rv;
}

static staple_fetch_conf_t fetch_limits(const staple_main_conf_t *global)
{
    staple_fetch_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    conf.concurrency = global->fetch_concurrency;
    if (global->deny) {
        conf.is_allowed = staple_deny_allows;
        conf.is_allowed_baton = global->deny;
    }
    conf.max_body = STAPLE_CACHE_DER_MAX;
    conf.user_agent = "mod_staple/" STAPLE_VERSION;
    return conf;
}

static apr_status_t join_refresh(apr_pool_t *p)
{
    const staple_main_conf_t *global = staple_config_of(current->server)->main;
    staple_refresh_conf_t conf;

    staple_cache_set_lock(current->cache, current->cache_lock);
    if (current->share_lock) {
        staple_share_set_lock(global->share, current->share_lock);
    }
    memset(&conf, 0, sizeof(conf));
    conf.server = current->server;
    conf.cache = current->cache;
    conf.registry = current->registry;
    conf.share = global->share;
    conf.message_cmd = global->message_cmd;
    conf.fetch = fetch_limits(global);
    return staple_refresh_create(&current->refresh, &conf, p);
}

static void on_child_init(apr_pool_t *p, server_rec *s)
{
    apr_status_t rv;

    if (!current->cache) {
        return;
    }
    rv = attach_locks(p);
    if (!rv) {
        rv = apr_thread_mutex_create(&current->step, APR_THREAD_MUTEX_DEFAULT,
                                     s->process->pconf);
    }
    if (!rv) {
        rv = join_refresh(p);
    }
    if (rv) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "STP0111: this child "
                     "cannot take part in the refresh of OCSP responses");
        return;
    }
    apr_pool_pre_cleanup_register(p, NULL, on_child_end);
    staple_refresh_confirm(current->refresh, CONFIRM_PATIENCE);
}

/* Only where a start is at stake: a child that is born into a server at work
 * does not take it down. */
static void require_staples(void)
{
    staple_cache_usage_t usage;
    const char *name;

    staple_cache_usage(current->cache, &usage);
    if (apr_time_now() - usage.created > REQUIRE_SPAN) {
        return;
    }
    name = staple_refresh_missing(current->refresh);
    if (name) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, current->server, "STP0116: "
                     "StapleMustStaple require: the must-staple certificate "
                     "%s has nothing to staple; the server does not start",
                     name);
        on_child_end(NULL); /* the leader's thread may be at work */
        exit(APEXIT_CHILDFATAL);
    }
}

/* After mod_watchdog's child_init: somebody may be leading by now. */
static void on_child_warmup(apr_pool_t *p, server_rec *s)
{
    const staple_main_conf_t *global = staple_config_of(s)->main;
    int is_set = global->warmup != STAPLE_UNSET;

    (void)p;
    if (!current->refresh) {
        return;
    }
    if (global->warmup != 0) {
        staple_refresh_await(current->refresh, is_set ? global->warmup : WARMUP,
                             is_set ? global->warmup : WARMUP_MUST_STAPLE);
    }
    if (global->must_staple == STAPLE_MUST_REQUIRE) {
        require_staples();
    }
}

#if HAVE_CHILD_STOPPING
static void on_child_stopping(apr_pool_t *p, int graceful)
{
    (void)p;
    (void)graceful;
    if (current->refresh) {
        staple_refresh_stop(current->refresh);
    }
}
#endif

/* ----- start ----- */

static int on_pre_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    current = apr_pcalloc(p, sizeof(*current));
    current->registry = staple_cert_registry_make(p);
    return ap_mutex_register(p, CACHE_MUTEX, NULL, APR_LOCK_DEFAULT, 0)
           || ap_mutex_register(p, LEAD_MUTEX, NULL, APR_LOCK_DEFAULT, 0)
           || ap_mutex_register(p, SHARE_MUTEX, NULL, APR_LOCK_DEFAULT, 0)
           ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

/* Runs before mod_ssl's post_config, which primes us and wants the defaults. */
static int on_check_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                           server_rec *s)
{
    int rank = 0;

    (void)plog;
    (void)ptemp;
    current->server = s;
    /* The main server comes first, and then the virtual hosts from the last of
     * the configuration to the first. */
    staple_config_finish(staple_config_of(s), INT_MIN);
    for (s = s->next; s; s = s->next) {
        staple_config_finish(staple_config_own(s, current->server, p), rank--);
    }
    return OK;
}

static apr_status_t make_locks(apr_pool_t *p)
{
    const staple_share_t *share
        = staple_config_of(current->server)->main->share;
    server_rec *s = current->server;
    apr_status_t rv = ap_global_mutex_create(&current->cache_lock, NULL,
                                             CACHE_MUTEX, NULL, s, p, 0);

    if (!rv) {
        rv = ap_proc_mutex_create(&current->lead_lock, NULL, LEAD_MUTEX, NULL,
                                  s, p, 0);
    }
    if (!rv && share && staple_share_needs_lock(share)) {
        rv = ap_global_mutex_create(&current->share_lock, NULL, SHARE_MUTEX,
                                    NULL, s, p, 0);
    }
    return rv;
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

/* Not a singleton of mod_watchdog's: a child that is killed while it leads
 * would be missed for ten seconds. Our own lock passes on at once. */
static apr_status_t enter_watchdog(apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get_instance
        = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *register_callback
        = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;
    apr_status_t rv;

    if (!get_instance || !register_callback) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, current->server, "STP0112: "
                     "mod_staple needs mod_watchdog; load it as well");
        return APR_ENOTIMPL;
    }
    rv = get_instance(&watchdog, "mod_staple", 0, 0, p);
    return rv ? rv : register_callback(watchdog, AP_WD_TM_SLICE, NULL,
                                       on_watchdog);
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
    status->registry = current->registry;
    status->share = conf->share ? staple_share_name(conf->share) : NULL;
    status->may_act = conf->status_actions;
    status->token = staple_status_make_token(p);
}

/* All that children find ready; nothing, where no certificate needs it. */
static apr_status_t set_up(const staple_main_conf_t *conf, apr_pool_t *p,
                           apr_pool_t *ptemp)
{
    apr_status_t rv = staple_generation_make_ring(
        &current->cache, &current->status.ring_path, current->registry, conf,
        current->server, p, ptemp);

    if (rv || !current->cache) {
        return rv;
    }
    rv = make_locks(p);
    if (!rv) {
        rv = open_share(p);
    }
    return rv ? rv : enter_watchdog(p);
}

static int on_post_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                          server_rec *s)
{
    const staple_main_conf_t *conf = staple_config_of(s)->main;
    apr_status_t rv;

    (void)plog;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* the dry run touches nothing */
    }
    warn_without_mod_ssl(s);
    staple_cert_registry_finish(current->registry);
    if (staple_generation_log_certs(current->registry, s, ptemp)
        && conf->must_staple == STAPLE_MUST_REQUIRE) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    rv = set_up(conf, p, ptemp);
    if (rv) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "STP0114: OCSP stapling "
                     "cannot be set up");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    prepare_status(conf, p);
    return OK;
}

/* ----- httpd -t ----- */

static void on_test_config(apr_pool_t *p, server_rec *s)
{
    staple_preflight_conf_t conf;

    if (!staple_preflight_is_wanted()) {
        return;
    }
    memset(&conf, 0, sizeof(conf));
    conf.server = s;
    conf.registry = current->registry;
    conf.prime = on_prime;
    conf.fetch = fetch_limits(staple_config_of(s)->main);
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
    static const char *const watchdog[] = { "mod_watchdog.c", NULL };

    (void)p;
    ap_hook_pre_config(on_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_test_config(on_test_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(on_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(on_post_config, after_ssl, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(on_child_init, NULL, watchdog, APR_HOOK_MIDDLE);
    ap_hook_child_init(on_child_warmup, watchdog, NULL, APR_HOOK_LAST);
#if HAVE_CHILD_STOPPING
    ap_hook_child_stopping(on_child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
#endif
    /* Last: who claims a certificate today (mod_md) goes on doing so. */
    ap_hook_ssl_ocsp_prime_hook(on_prime, NULL, NULL, APR_HOOK_LAST);
    ap_hook_ssl_ocsp_get_resp_hook(on_get_resp, NULL, NULL, APR_HOOK_LAST);
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
