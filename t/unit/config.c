/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Inheritance and defaults: a directive set in the main server holds in a
 * virtual host, one set there wins, and what nobody set gets its default.
 * Each directive is driven through the module's own table, so one that is
 * missing from create or merge fails here. (What bad values say is proved
 * against the real httpd, in t/13*.t.)
 *
 * The few functions of httpd that the room calls have stand-ins below.
 */

#include <apr_general.h>
#include <apr_strings.h>
#include <ap_provider.h>
#include <ap_socache.h>

#include "staple_config.h"
#include "tap.h"

module AP_MODULE_DECLARE_DATA staple_module;

static apr_pool_t *pool;

/* ----- stand-ins for httpd ----- */

AP_DECLARE(const char *) ap_check_cmd_context(cmd_parms *cmd,
                                              unsigned forbidden)
{
    return (forbidden & NOT_IN_VIRTUALHOST) && cmd->server->is_virtual
           ? "cannot occur within <VirtualHost> section" : NULL;
}

static const char *create_nothing(ap_socache_instance_t **instance,
                                  const char *arg, apr_pool_t *tmp,
                                  apr_pool_t *p)
{
    (void)arg;
    (void)tmp;
    *instance = apr_pcalloc(p, 1);
    return NULL;
}

AP_DECLARE(void *) ap_lookup_provider(const char *group, const char *name,
                                      const char *version)
{
    static ap_socache_provider_t provider = { .create = create_nothing };

    (void)group;
    (void)version;
    return strcmp(name, "nosuch") ? &provider : NULL;
}

AP_DECLARE(apr_array_header_t *) ap_list_provider_names(apr_pool_t *p,
                                                        const char *group,
                                                        const char *version)
{
    (void)group;
    (void)version;
    return apr_array_make(p, 0, sizeof(ap_list_provider_names_t));
}

AP_DECLARE(char *) ap_server_root_relative(apr_pool_t *p, const char *path)
{
    return apr_pstrcat(p, "/root/", path, NULL);
}

AP_DECLARE(int) ap_cstr_casecmp(const char *a, const char *b)
{
    return strcasecmp(a, b);
}

/* ----- driving the table ----- */

typedef struct host_t {
    server_rec server;
    staple_server_conf_t *conf;
} host_t;

static host_t make_host(int is_virtual)
{
    host_t host;

    memset(&host, 0, sizeof(host));
    host.server.is_virtual = is_virtual ? 1 : 0;
    host.conf = staple_config_create(pool, &host.server);
    return host;
}

static const command_rec *find(const char *name)
{
    const command_rec *cmd;

    for (cmd = staple_config_commands; cmd->name; cmd++) {
        if (!strcmp(cmd->name, name)) {
            return cmd;
        }
    }
    return NULL;
}

static const char *set(host_t *host, const char *name, const char *arg)
{
    const command_rec *cmd = find(name);
    void *config[1] = { host->conf };
    ap_directive_t line = { .filename = "httpd.conf", .line_num = 1 };
    cmd_parms parms;

    host->server.module_config = (ap_conf_vector_t *)config;
    memset(&parms, 0, sizeof(parms));
    parms.info = cmd->cmd_data;
    parms.pool = parms.temp_pool = pool;
    parms.server = &host->server;
    parms.cmd = cmd;
    parms.directive = &line;
    return cmd->AP_TAKE1(&parms, NULL, arg);
}

/* What a virtual host ends up with; arguments may be NULL: not set. */
static staple_server_conf_t *effective(const char *name, const char *in_main,
                                       const char *in_host)
{
    host_t base = make_host(0);
    host_t add = make_host(1);
    staple_server_conf_t *conf;

    if (in_main) {
        set(&base, name, in_main);
    }
    if (in_host) {
        set(&add, name, in_host);
    }
    conf = staple_config_merge(pool, base.conf, add.conf);
    staple_config_finish(conf);
    conf->main = NULL; /* differs by address; looked at on its own */
    return conf;
}

static int same_proxy(const staple_value_proxy_t *a,
                      const staple_value_proxy_t *b)
{
    return a == b || (a && b && !strcmp(a->url, b->url));
}

static int same(const staple_server_conf_t *a, const staple_server_conf_t *b)
{
    staple_server_conf_t other = *b;

    other.proxy = a->proxy;
    return same_proxy(a->proxy, b->proxy) && !memcmp(a, &other, sizeof(*a));
}

/* Two values each, neither the default. */
static const char *const inherited[][3] = {
    { "SSLStaplingResponseTimeSkew", "1", "2" },
    { "SSLStaplingResponderTimeout", "1", "2" },
    { "SSLStaplingResponseMaxAge", "1", "2" },
    { "SSLStaplingStandardCacheTimeout", "1", "2" },
    { "SSLStaplingErrorCacheTimeout", "1", "2" },
    { "SSLStaplingForceURL", "http://a.example/", "http://b.example/" },
    { "SSLOCSPProxyURL", "http://a.example:1", "http://b.example:2" },
};

static const char *const switches[] = {
    "SSLUseStapling", "SSLStaplingReturnResponderErrors",
    "SSLStaplingFakeTryLater"
};

static void test_inheritance(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(inherited) / sizeof(*inherited); i++) {
        const char *name = inherited[i][0];
        const char *a = inherited[i][1];
        const char *b = inherited[i][2];
        staple_server_conf_t *unset = effective(name, NULL, NULL);

        ok(!same(effective(name, NULL, a), unset), "%s is set", name);
        ok(same(effective(name, a, NULL), effective(name, NULL, a)),
           "%s is inherited", name);
        ok(same(effective(name, a, b), effective(name, NULL, b)),
           "%s of the virtual host wins", name);
    }
}

static void test_switches(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(switches) / sizeof(*switches); i++) {
        const char *name = switches[i];
        staple_server_conf_t *off = effective(name, NULL, "off");

        ok(same(effective(name, NULL, NULL), off), "%s is off unless set",
           name);
        ok(!same(effective(name, NULL, "on"), off), "%s is set", name);
        ok(same(effective(name, "on", NULL), effective(name, NULL, "on")),
           "%s is inherited", name);
        ok(same(effective(name, "on", "off"), off),
           "%s off in the virtual host wins", name);
    }
}

static void test_defaults(void)
{
    staple_server_conf_t *conf = effective("SSLUseStapling", NULL, NULL);

    is_int(apr_time_sec(conf->skew), 300, "skew");
    is_int(conf->max_age, STAPLE_UNSET, "no greatest age");
    is_int(apr_time_sec(conf->responder_timeout), 10, "responder timeout");
    is_int(conf->standard_timeout, STAPLE_UNSET, "no cache timeout");
    is_int(apr_time_sec(conf->error_timeout), 600, "error timeout");
    ok(!conf->force_url && !conf->proxy, "no URL and no proxy");
}

static void test_main(void)
{
    host_t base = make_host(0);
    host_t add = make_host(1);

    ok(!set(&base, "SSLStaplingCache", "shmcb:logs/ring(128000)"),
       "the guides' SSLStaplingCache is taken");
    is_str(base.conf->main->cache.path, "/root/logs/ring",
           "its path is relative to ServerRoot");
    is_int((long long)base.conf->main->cache.size, 128000, "its size");
    ok(set(&base, "SSLStaplingCache", "nosuch:x") != NULL,
       "an unknown provider is refused");
    ok(!set(&base, "StapleFetchConcurrency", "7")
       && base.conf->main->fetch_concurrency == 7, "a count is taken");
    ok(!set(&base, "StapleCacheGrow", "off")
       && base.conf->main->cache_grow == 0, "a main switch is taken");
    ok(set(&add, "SSLStaplingCache", "shmcb:x") != NULL
       && set(&add, "StapleFetchConcurrency", "7") != NULL
       && set(&add, "StapleCacheGrow", "on") != NULL,
       "directives of the main server are refused in a virtual host");
    staple_config_finish(base.conf);
    ok(base.conf->main->cache_grow == 0
       && base.conf->main->fetch_concurrency == 7,
       "defaults leave alone what was set");
    ok(((staple_server_conf_t *)staple_config_merge(pool, base.conf, add.conf))
       ->main == base.conf->main, "a virtual host has the main record");
}

/* An argument that is replaced by the default, in the main server or in a
 * virtual host of one that says otherwise. */
static void test_said_default(void)
{
    static const char *const names[] = {
        "SSLStaplingResponseTimeSkew", "SSLStaplingResponseMaxAge",
        "SSLStaplingStandardCacheTimeout", "SSLStaplingErrorCacheTimeout",
        "SSLStaplingResponderTimeout"
    };
    apr_size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        staple_server_conf_t *unset = effective(names[i], NULL, NULL);
        staple_server_conf_t *main_only = effective(names[i], "none", NULL);
        staple_server_conf_t *both = effective(names[i], "30", "none");

        main_only->notes = both->notes = NULL;
        ok(same(main_only, unset), "%s none is the default", names[i]);
        ok(same(both, unset), "... in a virtual host, too, whatever the main "
                              "server has");
    }
    is_int(apr_time_sec(effective("SSLStaplingResponderTimeout", "30", "0")
                            ->responder_timeout),
           10, "SSLStaplingResponderTimeout 0 is the default there");
}

/* What is asked with and through, and how many notes there are, after a line
 * in a virtual host of a main server that has a responder and a proxy. */
static void test_replaced(void)
{
    host_t add = make_host(1);

    ok(!set(&add, "SSLStaplingResponderTimeout", "0")
       && add.conf->notes->nelts == 1, "no time at all is noted");
    is_str(APR_ARRAY_IDX(add.conf->notes, 0, const char *),
           "httpd.conf:1: SSLStaplingResponderTimeout: '0' is no time between "
           "1ms and ten years; the default is used", "and the note says so");
    ok(!set(&add, "SSLStaplingErrorCacheTimeout", "60x")
       && apr_time_sec(add.conf->error_timeout) == 60
       && add.conf->notes->nelts == 2, "60x is 60, as mod_ssl reads it");
    ok(!set(&add, "SSLStaplingResponseTimeSkew", "-9223372036854775808")
       && add.conf->skew < 0,
       "a number that turns to 0 in an int is not used, as it is no time");
    ok(!set(&add, "SSLStaplingForceURL", "none") && !*add.conf->force_url
       && add.conf->notes->nelts == 3,
       "no responder instead of the main server's");
    ok(!set(&add, "SSLOCSPProxyURL", "http://u:p%40ss@proxy.test:3128"),
       "a proxy with a password is taken");
    is_str(add.conf->proxy->url, "http://proxy.test:3128", "where it is");
    is_str(add.conf->proxy->shown, "http://u:***@proxy.test:3128",
           "how it is shown");
    is_str(add.conf->proxy->credentials, "dTpwQHNz", "who asks: u:p@ss");
    is_int(add.conf->notes->nelts, 3, "and that is worth no note");
    ok(set(&add, "SSLOCSPProxyURL", "https://u:secret@proxy.test") != NULL
       && !strstr(set(&add, "SSLOCSPProxyURL", "https://u:secret@proxy.test"),
                  "secret"), "an https proxy is refused, without its password");
}

/* The last SSLStaplingCache holds alone. */
static void test_last_cache(void)
{
    host_t base = make_host(0);

    set(&base, "SSLStaplingCache", "shmcb:logs/ring(128000)");
    set(&base, "SSLStaplingCache", "memcache:host");
    ok(!base.conf->main->cache.path && base.conf->main->cache.size
                                       == STAPLE_CACHE_SIZE_DEFAULT,
       "a provider after a ring: the ring's path and size are forgotten");
    staple_config_finish(base.conf);
    ok(base.conf->main->share == base.conf->main->cache_share
       && base.conf->main->share, "and the provider is the share");

    base = make_host(0);
    set(&base, "SSLStaplingCache", "memcache:host");
    set(&base, "SSLStaplingCache", "shmcb:logs/ring(128000)");
    staple_config_finish(base.conf);
    ok(!base.conf->main->share, "a ring after a provider: no share");

    base = make_host(0);
    set(&base, "StapleShare", "memcache:one");
    set(&base, "SSLStaplingCache", "memcache:two");
    staple_config_finish(base.conf);
    ok(base.conf->main->share != base.conf->main->cache_share,
       "what StapleShare says stays");
}

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    test_defaults();
    test_inheritance();
    test_switches();
    test_main();
    test_said_default();
    test_replaced();
    test_last_cache();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
