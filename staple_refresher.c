/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The refresher of a generation, see include/staple_refresher.h for the
 * contract.
 *
 * The one idea: the process knows nothing of OCSP and the work nothing of
 * processes; here each gets the other as callbacks.
 */

#include "staple_refresher.h"

#include <http_log.h>

#include "staple_deny.h"
#include "staple_generation.h"
#include "staple_magic.h"
#include "staple_refresh.h"

APLOG_USE_MODULE(staple);

/* For how long the refresher works at a time while there is something to wait
 * for, and what the ring's file may take of the tenth of a second that it has
 * for its end. */
#define STEP_SPAN apr_time_from_sec(1)
#define END_SPAN apr_time_from_msec(50)

/* StapleWarmup where it is not set. */
#define WARMUP apr_time_from_msec(500)
#define WARMUP_LONGER apr_time_from_sec(5)

/* How long a starting child waits between looks at the ring. */
#define POLL_PAUSE apr_time_from_msec(1)

#define REFRESHER_MAGIC 0x52465245u

typedef struct refresher_t {
    staple_magic_t magic;
    server_rec *server;
    const staple_cert_registry_t *registry;
    staple_cache_t *cache;
    staple_process_t *process;
    staple_refresh_t *refresh; /* in the process itself */
} refresher_t;

staple_fetch_conf_t staple_refresher_limits(const staple_main_conf_t *global)
{
    staple_fetch_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    conf.concurrency = global->fetch_concurrency;
    conf.refusal = staple_deny_refusal;
    conf.refusal_baton = global->deny;
    conf.max_body = STAPLE_CACHE_DER_MAX;
    conf.user_agent = "mod_staple/" STAPLE_VERSION;
    return conf;
}

/* At its beginning. */
static staple_refresh_warmup_t warmup_of(const staple_main_conf_t *global)
{
    int is_set = global->warmup != STAPLE_UNSET;
    staple_refresh_warmup_t warmup;

    memset(&warmup, 0, sizeof(warmup));
    warmup.usual = is_set ? global->warmup : WARMUP;
    warmup.longer = is_set ? global->warmup : WARMUP_LONGER;
    return warmup;
}

void staple_refresher_await(const staple_process_t *process,
                            const staple_cache_t *cache,
                            const staple_cert_registry_t *registry,
                            server_rec *s)
{
    staple_refresh_warmup_t warmup = warmup_of(staple_config_of(s)->main);

    for (;;) {
        warmup.has_looked = staple_process_has_looked(process);
        if (!staple_refresh_is_warming_up(cache, registry, &warmup, 0)) {
            break;
        }
        apr_sleep(POLL_PAUSE);
    }
}

static refresher_t *refresher_of(void *baton)
{
    return STAPLE_CAST(refresher_t, REFRESHER_MAGIC, baton);
}

static void looked(void *baton)
{
    refresher_t *refresher = refresher_of(baton);

    staple_process_note_look(refresher->process);
}

static void beat(void *baton)
{
    refresher_t *refresher = refresher_of(baton);

    staple_process_beat(refresher->process);
}

static int is_ending(void *baton)
{
    refresher_t *refresher = refresher_of(baton);

    return staple_process_is_ending(refresher->process);
}

static void mark(void *baton, int thread, int slot)
{
    refresher_t *refresher = refresher_of(baton);

    staple_process_mark(refresher->process, thread, slot);
}

static apr_time_t set_aside(void *baton, int slot, int *is_new)
{
    refresher_t *refresher = refresher_of(baton);

    return staple_process_set_aside(refresher->process, slot, is_new);
}

static int has_crashed(void *baton)
{
    refresher_t *refresher = refresher_of(baton);

    return staple_process_has_crashed(refresher->process);
}

static apr_status_t begin_refresh(void *baton, apr_pool_t *p)
{
    refresher_t *refresher = refresher_of(baton);
    server_rec *s = refresher->server;
    const staple_main_conf_t *global = staple_config_of(s)->main;
    staple_refresh_conf_t conf;
    apr_status_t rv = staple_generation_begin_writing(refresher->cache, s, p);

    if (rv) {
        return rv;
    }
    memset(&conf, 0, sizeof(conf));
    conf.server = s;
    conf.cache = refresher->cache;
    conf.registry = refresher->registry;
    conf.share = global->share;
    conf.message_cmd = global->message_cmd;
    conf.response_directory = global->response_directory;
    conf.hears_pages = global->status_actions;
    conf.fetch = staple_refresher_limits(global);
    conf.looked = looked;
    conf.beat = beat;
    conf.is_ending = is_ending;
    conf.mark = mark;
    conf.set_aside = set_aside;
    conf.has_crashed = has_crashed;
    conf.baton = refresher;
    return staple_refresh_create(&refresher->refresh, &conf, p);
}

/* What a killed refresher had no time to finish does not end the server. */
static void log_unfinished(const refresher_t *refresher)
{
    const char *name = staple_refresh_missing(refresher->cache,
                                              refresher->registry, 0);

    if (name) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, refresher->server,
                     "STP0129: StapleMustStaple require: the must-staple "
                     "certificate %s has nothing to staple yet, because the "
                     "process that asked for it has ended; the server goes on",
                     name);
    }
}

/* Whether a must-staple certificate keeps the server from starting. */
static int lacks_staple(const refresher_t *refresher, int is_successor)
{
    const char *name = staple_refresh_missing(refresher->cache,
                                              refresher->registry,
                                              is_successor);

    if (name) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, refresher->server,
                     "STP0116: StapleMustStaple require: the must-staple "
                     "certificate %s has nothing to staple; the server does "
                     "not start", name);
    }
    else {
        log_unfinished(refresher);
    }
    return name != NULL;
}

/* StapleMustStaple require: decided once in a generation, by the refresher that
 * is there at the end of the warm-up. Returns an exit status, or 0. */
static int decide_start(refresher_t *refresher)
{
    const staple_main_conf_t *global
        = staple_config_of(refresher->server)->main;
    staple_refresh_warmup_t warmup = warmup_of(global);
    staple_process_state_t state;

    staple_process_state(refresher->process, &state);
    warmup.has_looked = staple_process_has_looked(refresher->process);
    if (global->must_staple == STAPLE_MUST_REQUIRE) {
        if (staple_refresh_is_warming_up(refresher->cache,
                                         refresher->registry, &warmup,
                                         state.born)) {
            return 0;
        }
        if (lacks_staple(refresher, state.restarts > 0)) {
            return STAPLE_PROCESS_END_SERVER;
        }
    }
    staple_process_settle(refresher->process);
    return 0;
}

static int do_refresh(void *baton)
{
    refresher_t *refresher = refresher_of(baton);

    staple_refresh_step(refresher->refresh, STEP_SPAN);
    return staple_process_is_settled(refresher->process)
           ? 0 : decide_start(refresher);
}

static void end_refresh(void *baton)
{
    refresher_t *refresher = refresher_of(baton);

    staple_refresh_drop(refresher->refresh);
    staple_generation_end_writing(refresher->cache, END_SPAN);
    staple_refresh_end(refresher->refresh);
}

apr_status_t staple_refresher_start(staple_process_t **process,
                                    staple_cache_t *cache,
                                    const staple_cert_registry_t *registry,
                                    server_rec *s, apr_pool_t *p,
                                    apr_pool_t *ptemp)
{
    refresher_t *refresher = apr_pcalloc(p, sizeof(*refresher));
    staple_process_work_t work;
    apr_status_t rv;

    refresher->magic = REFRESHER_MAGIC;
    refresher->server = s;
    refresher->registry = registry;
    refresher->cache = cache;
    work.begin = begin_refresh;
    work.step = do_refresh;
    work.end = end_refresh;
    work.baton = refresher;
    rv = staple_process_start(&refresher->process, &work, s, p, ptemp);
    *process = refresher->process;
    return rv;
}
