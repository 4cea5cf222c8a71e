# Licensed under the Apache License, Version 2.0; see LICENSE.

# What kind of process the refresher is: the main server's User and Group and
# nobody else, whatever children are, with no listener and no capability, and
# closed to others of its user. Where it cannot become that, it does not run.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

use POSIX ();

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $is_root = $> == 0;
my ($account, $group) = $is_root ? Staple::Httpd::account() : ();

# A value of /proc/PID/status: Uid, Groups, CapEff ...
sub status_of
{
    my ($pid, $name) = @_;
    my ($value) = read_file("/proc/$pid/status") =~ /^$name:[ \t]*(.*?)[ \t]*$/m;

    return $value // '';
}

# The sockets that a process listens with.
sub listeners
{
    my ($pid) = @_;
    # Fields of a line: slot, addresses, state (0A: listens), ..., inode.
    my %listens = map { (split)[3] eq '0A' ? ((split)[9] => 1) : () }
        map { split /\n/, read_file($_) } '/proc/net/tcp', '/proc/net/tcp6';

    return grep { /^socket:\[(\d+)\]/ && $listens{$1} }
        map { readlink // () } glob "/proc/$pid/fd/*";
}

# As User and Group for good; options of Staple::Httpd.
sub check_unprivileged
{
    my ($what, %o) = @_;
    my $conf = delete $o{conf} // '';
    my $httpd = Staple::Httpd->new(
        conf => stapling('SSLStaplingStandardCacheTimeout 1', $conf),
        vhosts => [{ cert => $leaf }], %o);

    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good', "$what: stapled");
    my $pid = $httpd->wait_for_refresher;
    my ($uid, $gid) = (getpwnam($o{as} // $account))[2, 3];
    is(join(' ', split /\s+/, status_of($pid, 'Uid')), join(' ', ($uid) x 4),
       "$what: all its user ids are User's");
    is(join(' ', split /\s+/, status_of($pid, 'Gid')), join(' ', ($gid) x 4),
       "$what: and its group ids Group's");
    my %allowed = map { $_ => 1 } $gid,
        split ' ', (run('id', '-G', $o{as} // $account))[1];
    is(join(' ', grep { !$allowed{$_} } split ' ', status_of($pid, 'Groups')),
       '', "$what: no other group");
    is(join(' ', map { status_of($pid, $_) } qw(CapInh CapPrm CapEff)),
       join(' ', ('0' x 16) x 3), "$what: no capability");
    is(scalar listeners($pid), 0, "$what: no listener");
    isnt(scalar listeners($httpd->pid), 0, "... which the parent has");
    is((stat "/proc/$pid/mem")[4], 0, "$what: its memory is nobody's")
        if $is_root;
    my @all = ($pid, $httpd->children);
    ok($httpd->stop, "$what: httpd stops in good order");
    ok(wait_for(sub { !grep { kill 0, $_ } @all }), "$what: and none is left");
    $httpd->log_ok;
    return;
}

SKIP: {
    skip 'no /proc here' if !-e "/proc/$$/status";
    skip 'only root has privileges to give up' if !$is_root;
    for my $mpm (qw(event worker prefork)) {
        check_unprivileged($mpm, mpm => $mpm) if has_httpd_module("mpm_$mpm");
    }
    SKIP: {
        skip 'LeakSanitizer wants /proc, which a cell has not'
            if $ENV{STAPLE_PRELOAD};
        my (undef, $libs) = run('ldconfig', '-p');
        my ($libgcc) = $libs =~ m{libgcc_s\.so\.1 .*=> (/\S+)};
        check_unprivileged('ChrootDir', conf => 'ChrootDir {dir}'
                           . ($libgcc ? "\nLoadFile $libgcc" : ''));
    }
    SKIP: {
        skip 'no setpriv here' if !Staple::Work::find_tool('setpriv');
        chmod 0644, $leaf->{key};
        check_unprivileged('not started as root', as => $account);
    }
    SKIP: {
        skip 'no mpm-itk here' if !has_httpd_module('mpm_itk');
        # Its hooks leave a process capabilities, or root.
        for my $enable (qw(On Off)) {
            check_unprivileged(
                "mpm-itk, capabilities $enable", mpm => 'prefork',
                modules => ['mpm_itk'], conf => join "\n",
                'LimitUIDRange 0 65535', 'LimitGIDRange 0 65535',
                "EnableCapabilities $enable");
        }
    }
}

# Whether the account that runs children, CGI and PHP too, may read a process's
# memory and so attach to it: the kernel asks the same of both.
sub may_look_into
{
    my ($pid) = @_;
    my $looker = fork // die "fork: $!\n";

    if (!$looker) {
        my ($uid, $gid) = (getpwnam $account)[2, 3];

        $( = $) = "$gid $gid";
        $< = $> = $uid;
        POSIX::_exit(open(my $mem, '<', "/proc/$pid/mem") ? 0 : 1);
    }
    waitpid $looker, 0;
    return $? == 0;
}

# A program of that account, which has nothing to hide.
sub bystander
{
    my $pid = fork // die "fork: $!\n";

    if (!$pid) {
        my ($uid, $gid) = (getpwnam $account)[2, 3];

        $( = $) = "$gid $gid";
        $< = $> = $uid;
        exec 'sleep', '600' or POSIX::_exit(127);
    }
    return $pid;
}

SKIP: {
    skip 'only root can be another user' if !$is_root;
    skip 'no /proc here' if !-e "/proc/$$/mem";
    my $bystander = bystander();
    my $is_possible = wait_for(sub { may_look_into($bystander) }, 5);
    kill 'KILL', $bystander;
    waitpid $bystander, 0;
    skip 'here no process may look into another one' if !$is_possible;

    for my $core ('', 'CoreDumpDirectory {dir}') {
        my $what = $core ? 'CoreDumpDirectory' : 'as usual';
        my @looks = map {
            my $httpd = Staple::Httpd->new(
                conf => ($_ ? stapling() : '') . $core, staple => $_,
                vhosts => [{ cert => $leaf }]);

            $httpd->start;
            wait_for_staple($httpd, 'good') if $_;
            my $refresher = $_ ? $httpd->wait_for_refresher : undef;
            my ($child) = $httpd->children;
            my @look = (may_look_into($child) ? 'yes' : 'no',
                        $refresher && may_look_into($refresher) ? 'yes' : 'no');

            ok($httpd->stop, "$what: httpd stops in good order");
            $httpd->log_ok;
            \@look;
        } 0, 1;

        is($looks[1][1], $core ? 'yes' : 'no',
           "$what: the memory of the refresher is open to its account: "
           . $looks[1][1]);
        is($looks[1][0], $looks[0][0],
           "$what: that of a child is as without mod_staple: $looks[0][0]");
    }
}

# A program of that account takes its descriptors away: it would live, and be of
# no use. (A child may be treated so, too, which is httpd's affair.)
SKIP: {
    skip 'only root can be another user' if !$is_root;
    skip 'no prlimit or setpriv here' if !Staple::Work::find_tool('prlimit')
        || !Staple::Work::find_tool('setpriv');
    my $httpd = Staple::Httpd->new(
        conf => stapling('SSLStaplingStandardCacheTimeout 1'),
        vhosts => [{ cert => $leaf }]);

    $httpd->start;
    wait_for_staple($httpd, 'good');
    my $old = $httpd->wait_for_refresher;
    my ($exit, $said) = run('setpriv', '--reuid', $account, '--regid', $group,
                            '--clear-groups', 'prlimit', '--pid', $old,
                            '--nofile=3:3');
    is($exit, 0, 'its limits are lowered') or diag $said;
    ok($httpd->wait_for_refresher($old, 30), '... another one takes its place');
    ok($httpd->wait_for_log(qr/STP0311/), '... which the log explains');
    ok($responder->wait_for_request(undef, undef, 20), '... and asks');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0311/, qr/STP0120/);
}

# It cannot give up root: nothing runs, the server does, and it is said once.
SKIP: {
    my $preload = build_dir() . '/t/tools/.libs/birth.so';

    skip 'only root has privileges to give up' if !$is_root;
    skip "no $preload" if !-e $preload;
    my $birth = write_file('birth', "privileged\n");
    my $httpd = Staple::Httpd->new(
        conf => stapling(), vhosts => [{ cert => $leaf }],
        preload => [$preload], env => { STAPLE_BIRTH => $birth });

    $httpd->start;
    ok($httpd->wait_for_log(qr/STP0123/), 'privileges are left: CRIT');
    is(handshake($httpd)->{staple}, 'none', '... nothing is stapled');
    $httpd->graceful;
    ok(wait_for(sub { (() = $httpd->error_log =~ /STP0123/g) == 2 }),
       '... once a generation');
    ok(wait_for(sub { !$httpd->refresher }), '... and there is no refresher');
    ok($httpd->is_alive, '... but a server');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0123/);
}

# A name service that takes its time to say which groups User has.
SKIP: {
    my $preload = build_dir() . '/t/tools/.libs/birth.so';

    skip 'only root has privileges to give up' if !$is_root;
    skip "no $preload" if !-e $preload;
    my $birth = write_file('birth', "groups-late\n");
    my $httpd = Staple::Httpd->new(
        conf => stapling(), vhosts => [{ cert => $leaf }],
        preload => [$preload], env => { STAPLE_BIRTH => $birth });

    unlink "$birth.log";
    $responder->good;
    $httpd->start;
    is(wait_for_staple($httpd, 'good', seconds => 60)->{staple}, 'good',
       'groups that are found out late: stapled then');
    is(scalar(() = read_file("$birth.log") =~ /\n/g), 1,
       '... by the first refresher');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok;
}

done_testing;
