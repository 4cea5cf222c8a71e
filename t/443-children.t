# Licensed under the Apache License, Version 2.0; see LICENSE.

# Children have nothing of the refresh: no thread, no descriptor, and their end
# disturbs no exchange. The warm-up has one clock: a child that is born after it
# holds nobody back.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Time::HiRes qw(time);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = qw(a.test b.test c.test);
my @leaves = map { $ca->leaf(name => $_, ocsp => $responder->url) } @names;
my $patience = $ENV{STAPLE_PATIENCE} || 1;

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

# A responder that takes three seconds, and children that end long before. Two
# certificates are asked about at once, each on a new connection.
for my $case (['prefork', 1], ['event', 30]) {
    my ($mpm, $connections) = @$case;

    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = Staple::Httpd->new(
            mpm => $mpm, vhosts => [map { { cert => $_ } } @leaves[0, 1]],
            conf => stapling("MaxConnectionsPerChild $connections"));

        $responder->only('slow 3000');
        $responder->tell('reset-counters');
        $httpd->start;
        my $visitors = Staple::Visitors->new($ca, [$httpd], rate => 50,
                                             names => [@names[0, 1]]);
        is(wait_for_staple($httpd, 'good', name => $_, seconds => 20)->{staple},
           'good', "$mpm, $connections: $_ is stapled") for @names[0, 1];
        $visitors->stop;
        is($responder->count, 2,
           "$mpm, $connections: no exchange was lost on the way");
        ok($httpd->stop, 'httpd stops in good order');
        $httpd->log_ok($httpd->cut_off,
                       qr/AH00045|AH00161|AH00484|AH03490|AH10159/);
    }
}
$responder->good;

# Nothing to staple for a must-staple certificate, and a responder that says
# nothing: the start waits for StapleWarmup, and no child born later does.
SKIP: {
    skip 'no mpm_prefork here' if !has_httpd_module('mpm_prefork');
    my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                         must_staple => 1);
    my $httpd = Staple::Httpd->new(
        mpm => 'prefork', vhosts => [{ cert => $must }],
        conf => stapling('MaxConnectionsPerChild 1', 'StapleWarmup 3s',
                         'SSLStaplingResponderTimeout 120'));
    my $visits = 40;    # a child each; 3 s each would be a minute, two abreast

    $responder->only('hang-before');
    $httpd->start;
    my $began = time;
    handshake($httpd, name => 'must.test') for 1 .. $visits;
    cmp_ok(time - $began, '<', 15 * $patience,
           'children born after the warm-up hold nobody back');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP020/);
}

done_testing;
