# Licensed under the Apache License, Version 2.0; see LICENSE.

# One child leads the refresh. When it is killed, another one takes over within
# two seconds, and no handshake misses a staple; children that are killed at
# random, or end after a few connections, are no loss either.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use IO::Socket::INET;
use Time::HiRes qw(time);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = qw(a.test b.test c.test);
my @leaves = map { $ca->leaf(name => $_, ocsp => $responder->url) } @names;
my $patience = $ENV{STAPLE_PATIENCE} || 1;

sub server
{
    my ($mpm, %o) = @_;

    # Children that are killed are soon replaced.
    my $server = $mpm eq 'prefork'
        ? "StartServers 4\nMinSpareServers 4\nMaxSpareServers 8\n"
          . "MaxRequestWorkers 16\n" : undef;

    return Staple::Httpd->new(
        mpm => $mpm, vhosts => [map { { cert => $_ } } @leaves],
        conf => stapling('SSLStaplingStandardCacheTimeout 1', $o{conf} // ()),
        server => $o{server} // $server);
}

# Whether somebody asks the responder again.
sub is_refreshing { return $responder->wait_for_request(undef, undef, 15) }

for my $mpm (qw(event worker prefork)) {
    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = server($mpm);

        $httpd->start;
        wait_for_staple($httpd, 'good', name => $_) for @names;
        my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names);
        my $leader = $httpd->wait_for_leader;
        for my $time (1 .. 3) {
            # Whoever is left takes over: there has to be one.
            wait_for(sub { $httpd->children > 1 });
            my $old = $leader;
            my $began = time;

            kill 'KILL', $old;
            $leader = $httpd->wait_for_leader($old, 5);
            my $took = time - $began;
            ok($leader, "$mpm, $time: another child leads");
            cmp_ok($took, '<', 2 * $patience, "$mpm, $time: within 2 s");
        }
        ok(is_refreshing(), "$mpm: and asks the responder");
        for (1 .. 6) {
            my @children = $httpd->children;

            kill 'KILL', $children[rand @children] if @children;
            $visitors->wait_for_more(10);
        }
        ok(wait_for(sub { $httpd->leader }, 5), "$mpm: somebody leads");
        my @lost = grep { !/failed: / } $visitors->stop->odd;
        ok(!@lost, "$mpm: nobody who got in missed a staple")
            or diag(join "\n", @lost);
        ok($httpd->stop, "$mpm: httpd stops in good order");
        $httpd->log_ok(qr/AH0005[0-9].*exit signal Killed/, qr/AH00045/);
    }
}

# Whatever kind of lock the lead is: it has to be given up, by a thread that did
# not take it.
for my $case (['event'], ['prefork'], map { ['event', $_] }
              'posixsem', 'sysvsem', 'fcntl:logs', 'flock:logs') {
    my ($mpm, $mutex) = @$case;

    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $conf = 'MaxConnectionsPerChild 10';
        $conf .= "\nMutex $mutex staple-refresh" if $mutex;
        my $httpd = server($mpm, conf => $conf);
        $mpm .= ", $mutex" if $mutex;

        $httpd->start;
        wait_for_staple($httpd, 'good', name => $_) for @names;
        my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names,
                                             rate => 100);
        $visitors->wait_for_more(120, 60);
        my @odd = $visitors->stop->odd;
        ok(!@odd, "$mpm: children that end soon lose nothing")
            or diag(join "\n", @odd);
        my %led = map { $_ => 1 }
            $httpd->error_log =~ /\[pid (\d+)[^\n]*STP0119/g;
        cmp_ok(scalar(keys %led), '>', 1, "$mpm: the lead went from child to "
               . 'child');
        ok(is_refreshing(), "$mpm: and the responder is asked");
        ok($httpd->stop, "$mpm: httpd stops in good order");
        $httpd->log_ok(qr/AH00045|AH00161|AH00484|AH03490|AH10159/);
    }
}

# A child that has been told to end but still serves somebody does not lead,
# nor hold anybody else up.
SKIP: {
    skip 'no mpm_event here' if !has_httpd_module('mpm_event');
    my $httpd = server('event');

    $httpd->{vhosts}[0]{conf} = "Protocols http/1.1\n";
    $httpd->{conf} .= "Timeout 60\nGracefulShutdownTimeout 60\n"
        . "KeepAliveTimeout 60\n";
    $httpd->write_conf;
    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @names;
    my @before = $httpd->children;
    # Somebody who says nothing, to each child: a handshake that never ends.
    my @silent = map {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                              PeerPort => $httpd->port)
    } 1 .. 8;
    $httpd->graceful;
    my $leader;
    ok(wait_for(sub {
        $leader = $httpd->leader;
        $leader && !grep { $_ == $leader } @before;
    }, 5), 'the new generation leads while old connections linger');
    ok(is_refreshing(), 'and asks the responder');
    is(handshake($httpd, name => 'a.test')->{staple}, 'good', 'and staples');
    close $_ for @silent;
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/AH00045/);
}

# With a single child and a full server there is a leader all the same.
{
    my $httpd = server('event', server => "StartServers 1\nServerLimit 1\n"
        . "ThreadsPerChild 4\nMinSpareThreads 1\nMaxSpareThreads 4\n"
        . "MaxRequestWorkers 4\n");

    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @names;
    my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names,
                                         workers => 12, rate => 200);
    ok($visitors->wait_for_more(200), 'ServerLimit 1: as many as can be');
    ok(is_refreshing(), 'ServerLimit 1: the responder is asked');
    $httpd->graceful;
    ok($visitors->wait_for_more(50), 'ServerLimit 1: after a restart, too');
    my @lost = grep { !/failed: / } $visitors->stop->odd;
    ok(!@lost, 'ServerLimit 1: no staple is missed')
        or diag(join "\n", @lost);
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/AH00484|AH00161|AH03490|AH10159|AH00485/);
}

done_testing;
