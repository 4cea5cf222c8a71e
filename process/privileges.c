/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How the refresher becomes User and Group of the main server: it reads what
 * strangers send, so it must not be root, nor able to become root again.
 *
 * The one idea: do it as httpd does it for children (the drop_privileges hook,
 * which enters ChrootDir too), finish where that leaves root (mpm-itk's hooks
 * do, as its children change their user later), and then believe nothing: all
 * ids, groups and capabilities are read back.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* getresuid, setgroups */
#endif

#include "process_int.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include <mpm_common.h>
#include <unixd.h>
#include <apr_strings.h>

/* More groups than this has nobody (Linux: NGROUPS_MAX). */
#define GROUPS_MAX 65536

/* The groups that User has, in the order of the system. */
typedef struct groups_t {
    gid_t *list;
    int count;
} groups_t;

static const char *user_name(apr_pool_t *p)
{
    const char *name = ap_unixd_config.user_name;
    const struct passwd *user;

    if (!name || *name != '#') {
        return name;
    }
    user = getpwuid(ap_unixd_config.user_id); /* "User #1001" */
    return user ? apr_pstrdup(p, user->pw_name) : NULL;
}

/* Before ChrootDir hides the system's own list. */
static int look_up_groups(groups_t *groups, apr_pool_t *p)
{
    const char *name = user_name(p);
    int room;

    for (room = 64; name && room <= GROUPS_MAX; room *= 4) {
        groups->count = room;
        groups->list = apr_palloc(p, (apr_size_t)room * sizeof(gid_t));
        if (getgrouplist(name, ap_unixd_config.group_id, groups->list,
                         &groups->count) >= 0) {
            return 1;
        }
    }
    return 0;
}

static int has_group(const groups_t *groups, gid_t group)
{
    int i;

    for (i = 0; i < groups->count; i++) {
        if (groups->list[i] == group) {
            return 1;
        }
    }
    return 0;
}

/* What the drop_privileges hook has left. */
static int drop_rest(const groups_t *groups)
{
    return geteuid() != 0
           || (!setgroups((size_t)groups->count, groups->list)
               && !setgid(ap_unixd_config.group_id)
               && !setuid(ap_unixd_config.user_id));
}

/* ----- what has become of it ----- */

static int are_ids_right(void)
{
    uid_t user = ap_unixd_config.user_id, uid, euid, suid;
    gid_t group = ap_unixd_config.group_id, gid, egid, sgid;

    if (getresuid(&uid, &euid, &suid) || getresgid(&gid, &egid, &sgid)) {
        return 0;
    }
    return uid == user && euid == user && suid == user
           && gid == group && egid == group && sgid == group;
}

static int are_groups_right(const groups_t *allowed, apr_pool_t *p)
{
    int count = getgroups(0, NULL), i;
    gid_t *list;

    if (count < 0) {
        return 0;
    }
    list = apr_palloc(p, ((apr_size_t)count + 1) * sizeof(*list));
    count = getgroups(count, list);
    for (i = 0; i < count; i++) {
        if (!has_group(allowed, list[i])) {
            return 0;
        }
    }
    return count >= 0;
}

#if defined(__linux__) && defined(SYS_capget) && defined(SYS_capset)

/* None of any kind; the ambient ones go with the inheritable ones. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2];
    int i;

    memset(none, 0, sizeof(none));
    if (syscall(SYS_capset, &head, none) || syscall(SYS_capget, &head, none)) {
        return 0;
    }
    for (i = 0; i < 2; i++) {
        if (none[i].effective || none[i].permitted || none[i].inheritable) {
            return 0;
        }
    }
    return 1;
}

#else

static int drop_capabilities(void)
{
    return 1;
}

#endif

const char *staple_process_drop_privileges(server_rec *s, apr_pool_t *p)
{
    groups_t groups;

    if (getuid() != 0 && geteuid() != 0) {
        return NULL;
    }
    if (ap_unixd_config.user_id == 0) {
        return "User is root";
    }
    if (!look_up_groups(&groups, p)) {
        return "the groups of User cannot be found out";
    }
    if (ap_run_drop_privileges(p, s) || !drop_rest(&groups)) {
        return apr_psprintf(p, "they could not be given up (%s)",
                            strerror(errno));
    }
    if (!drop_capabilities()) {
        return "capabilities are left";
    }
    if (!are_ids_right()) {
        return "its ids are not those of User and Group";
    }
    return are_groups_right(&groups, p) ? NULL
           : "it has groups that User has not";
}
