# Licensed under the Apache License, Version 2.0; see LICENSE.

# One process refreshes. When it is killed another one takes its place, as it
# does when it is stopped, and no handshake misses a staple; when children end,
# in whatever way, nothing happens to it.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Time::HiRes qw(time);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = qw(a.test b.test c.test);
my @leaves = map { $ca->leaf(name => $_, ocsp => $responder->url) } @names;

sub server
{
    my ($mpm, %o) = @_;

    # With the usual MaxSpareServers prefork ends children by itself.
    $o{server} //= "StartServers 4\nMinSpareServers 1\nMaxSpareServers 64\n"
        . "MaxRequestWorkers 16\n" if $mpm eq 'prefork';
    return Staple::Httpd->new(
        mpm => $mpm, vhosts => [map { { cert => $_ } } @leaves],
        conf => stapling('SSLStaplingStandardCacheTimeout 1', $o{conf} // ()),
        server => $o{server});
}

# Whether somebody asks the responder again.
sub is_refreshing { return $responder->wait_for_request(undef, undef, 15) }

# Start it, warm, and with visitors.
sub at_work
{
    my ($httpd, %o) = @_;

    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @names;
    return Staple::Visitors->new($ca, [$httpd], names => \@names, %o);
}

# What visitors met who were let in.
sub lost { return grep { !/failed: / } $_[0]->stop->odd }

for my $mpm (qw(event worker prefork)) {
    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = server($mpm);
        my $visitors = at_work($httpd);
        my $pid = $httpd->wait_for_refresher;
        my @children = sort $httpd->children;

        for my $time (1 .. 3) {
            my $old = $pid;
            kill 'KILL', $old;
            $pid = $httpd->wait_for_refresher($old, 20);
            ok($pid, "$mpm, $time: another one takes the place of a killed one");
        }
        ok(is_refreshing(), "$mpm: and asks the responder");
        my $old = $pid;
        kill 'STOP', $old;
        $pid = $httpd->wait_for_refresher($old, 40);
        ok($pid, "$mpm: another one takes the place of a stopped one");
        ok(!kill(0, $old), "$mpm: which is gone");
        ok(is_refreshing(), "$mpm: and asks the responder");
        my %now = map { $_ => 1 } $httpd->children; # prefork may add some
        ok(!grep({ !$now{$_} } @children), "$mpm: no child has ended");
        my @lost = lost($visitors);
        ok(!@lost, "$mpm: nobody missed a staple")
            or diag(join "\n", @lost);
        my @gone = ($pid, $httpd->children);
        ok($httpd->stop, "$mpm: httpd stops in good order");
        ok(wait_for(sub { !grep { kill 0, $_ } @gone }),
           "$mpm: no process is left");
        $httpd->log_ok(qr/exit signal Killed/, qr/STP0120/, qr/STP0121/);
    }
}

# Children that end soon, or are killed, or mutexes that used to matter, make
# no difference.
for my $case (['prefork', 'MaxConnectionsPerChild 1'],
              ['event', 'MaxConnectionsPerChild 30'],
              ['event', "Mutex posixsem default\nMutex sysvsem staple-refresh"])
{
    my ($mpm, $conf) = @$case;

    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = server($mpm, conf => $conf);
        my $visitors = at_work($httpd, rate => 50);
        my $pid = $httpd->wait_for_refresher;

        for (1 .. 6) {
            my @children = $httpd->children;
            kill 'KILL', $children[rand @children] if @children;
            $visitors->wait_for_more(20);
        }
        my @lost = lost($visitors);
        ok(!@lost, "$conf: nobody who got in missed a staple")
            or diag(join "\n", @lost);
        is($httpd->refresher // 0, $pid, "$conf: the refresher is the same");
        ok(is_refreshing(), "$conf: and asks the responder");
        ok($httpd->stop, "$conf: httpd stops in good order");
        $httpd->log_ok($httpd->cut_off, qr/exit signal Killed/,
                       qr/AH00045|AH00161|AH00484|AH03490|AH10159/);
    }
}

# A stopped refresher holds up neither a restart nor a stop.
SKIP: {
    skip 'no mpm_event here' if !has_httpd_module('mpm_event');
    my $httpd = server('event');
    $httpd->start;
    wait_for_staple($httpd, 'good', name => 'a.test');
    for my $how (qw(graceful restart)) {
        my $old = $httpd->wait_for_refresher;
        kill 'STOP', $old;
        $httpd->$how;
        ok(!kill(0, $old), "$how: the stopped refresher is gone");
        ok($httpd->wait_for_refresher($old), "$how: there is another one");
        is(handshake($httpd, name => 'a.test')->{staple}, 'good',
           "$how: it is stapled");
    }
    my $old = $httpd->wait_for_refresher;
    kill 'STOP', $old;
    ok($httpd->stop, 'stop: httpd stops in good order');
    ok(!kill(0, $old), 'stop: the stopped refresher is gone');
    $httpd->log_ok;
}

# With a single child and a full server it refreshes all the same.
SKIP: {
    skip 'no mpm_event here' if !has_httpd_module('mpm_event');
    my $httpd = server('event', server => "StartServers 1\nServerLimit 1\n"
        . "ThreadsPerChild 4\nMinSpareThreads 1\nMaxSpareThreads 4\n"
        . "MaxRequestWorkers 4\n");
    my $visitors = at_work($httpd, workers => 12, rate => 200);

    ok($visitors->wait_for_more(200), 'ServerLimit 1: as many as can be');
    ok(is_refreshing(), 'ServerLimit 1: the responder is asked');
    $httpd->graceful;
    ok($visitors->wait_for_more(50), 'ServerLimit 1: after a restart, too');
    my @lost = lost($visitors);
    ok(!@lost, 'ServerLimit 1: no staple is missed')
        or diag(join "\n", @lost);
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/AH00484|AH00161|AH03490|AH10159|AH00485/);
}

done_testing;
