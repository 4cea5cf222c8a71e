# Licensed under the Apache License, Version 2.0; see LICENSE.

# Children have nothing of the refresh: no thread, no descriptor, and their end
# disturbs no exchange. The warm-up has one clock: a child that is born after it
# holds nobody back.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = qw(a.test b.test c.test);
my @leaves = map { $ca->leaf(name => $_, ocsp => $responder->url) } @names;

# How many threads and descriptors each child has, once that has settled.
sub belongings
{
    my (%o) = @_;
    my $httpd = Staple::Httpd->new(vhosts => [map { { cert => $_ } } @leaves],
                                   conf => stapling(), %o);
    my ($now, $before) = ('', '');

    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @names;
    wait_for(sub {
        $before = $now;
        $now = join ' ', sort map {
            my $pid = $_;
            my @threads = glob "/proc/$pid/task/*";
            my @fds = glob "/proc/$pid/fd/*";
            @threads . ' threads, ' . @fds . ' descriptors;';
        } $httpd->children;
        return $now && $now eq $before;
    });
    ok($httpd->stop, 'httpd stops in good order');
    return $now;
}

for my $mpm (qw(event worker prefork)) {
    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        skip 'no /proc here' if !-e '/proc/self/fd';
        is(belongings(mpm => $mpm), belongings(mpm => $mpm, staple => 0),
           "$mpm: a child has what it has without the module");
    }
}

# A responder that takes three seconds, and children that end long before: the
# first exchange brings the staple, and none is lost when it is renewed. Two
# certificates are asked about at once, each on a new connection.
for my $case (['prefork', 1], ['event', 30]) {
    my ($mpm, $connections) = @$case;

    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = Staple::Httpd->new(
            mpm => $mpm, vhosts => [map { { cert => $_ } } @leaves[0, 1]],
            conf => stapling("MaxConnectionsPerChild $connections",
                             'SSLStaplingStandardCacheTimeout 4'));
        my @to = ($ca, [$httpd]);
        my %how = (rate => 50, names => [@names[0, 1]]);

        $responder->only('slow 3000');
        $responder->tell('reset-counters');
        $httpd->start;
        my $refresher = $httpd->wait_for_refresher;
        my $first = Staple::Visitors->new(@to, %how);
        is(wait_for_staple($httpd, 'good', name => $_, seconds => 40)->{staple},
           'good', "$mpm, $connections: $_ is stapled") for @names[0, 1];
        $first->stop;
        my $later = Staple::Visitors->new(@to, %how);
        ok(wait_for(sub { $responder->count >= 6 }, 60),
           "$mpm, $connections: renewed, and again");
        my @bare = grep { $_->{verdict} eq 'none' } $later->stop->visits;
        is(scalar @bare, 0, "$mpm, $connections: nobody misses a staple then");
        is($httpd->refresher // 0, $refresher,
           "$mpm, $connections: who asks is who asked at the start");
        ok($httpd->stop, 'httpd stops in good order');
        $httpd->log_ok($httpd->cut_off,
                       qr/AH00045|AH00161|AH00484|AH03490|AH10159/);
    }
}
$responder->good;

# Nothing to staple for a must-staple certificate, and a responder that says
# nothing: the start waits for StapleWarmup, and no child born later does. The
# clock is another server, which is started when the first one's warm-up is over
# and opens after 40 s: ten children that waited as well would take 120 s.
SKIP: {
    skip 'no mpm_prefork here' if !has_httpd_module('mpm_prefork');
    my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                         must_staple => 1);
    my ($httpd, $clock) = map {
        Staple::Httpd->new(
            mpm => 'prefork', vhosts => [{ cert => $must }],
            conf => stapling('MaxConnectionsPerChild 1', "StapleWarmup ${_}s",
                             'SSLStaplingResponderTimeout 120'))
    } 12, 40;

    $responder->only('hang-before');
    $httpd->start;
    handshake($httpd, name => 'must.test');
    $clock->launch;
    my $waiting = Staple::Visitors->new($ca, [$clock], rate => 1, workers => 1,
                                        names => ['must.test']);
    handshake($httpd, name => 'must.test') for 1 .. 10;    # a child each
    is(scalar(grep { $_->{verdict} !~ /^failed/ } $waiting->visits), 0,
       'children born after the warm-up hold nobody back');
    ok(wait_for(sub {
           grep { $_->{verdict} !~ /^failed/ } $waiting->visits
       }, 60), '... when the other server is still closed, which opens later');
    $waiting->stop;
    ok($_->stop, 'httpd stops in good order') for $httpd, $clock;
    $httpd->log_ok(qr/STP020|STP030/);
}

done_testing;
