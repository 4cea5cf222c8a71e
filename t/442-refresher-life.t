# Licensed under the Apache License, Version 2.0; see LICENSE.

# The refresher's births and ends: one that does not come to life is forked
# again, one whose parent was killed goes on until the last child has ended,
# and under httpd -X it goes with the server.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);

sub server
{
    my (%o) = @_;

    return Staple::Httpd->new(
        conf => stapling('SSLStaplingStandardCacheTimeout 1'),
        vhosts => [{ cert => $leaf }], %o);
}

sub is_gone
{
    my ($pid) = @_;

    return wait_for(sub { !kill 0, $pid }, 20);
}

# Births that fail.
SKIP: {
    my $preload = build_dir() . '/t/tools/.libs/birth.so';

    skip "no $preload" if !-e $preload;
    for my $how (qw(hang die)) {
        my $birth = write_file("birth-$how", "$how\n");
        my $births = sub {
            return scalar(() = read_file("$birth.log") =~ /\n/g);
        };
        my $httpd = server(preload => [$preload],
                           env => { STAPLE_BIRTH => $birth });

        $httpd->start;
        ok(wait_for(sub { $births->() >= 2 }, 60), "$how: it is forked again");
        is(handshake($httpd)->{staple}, 'none', '... and again in vain');
        write_file("birth-$how", "well\n");
        is(wait_for_staple($httpd, 'good', seconds => 60)->{staple}, 'good',
           '... until one comes to life');
        ok($httpd->stop, 'httpd stops in good order');
        $httpd->log_ok(qr/STP0120/, qr/STP0121/, qr/exit signal Killed/);
    }
}

# The parent is killed. mpm-itk goes on top of prefork.
for my $mpm (qw(event worker prefork itk)) {
    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = $mpm eq 'itk'
            ? server(mpm => 'prefork', modules => ['mpm_itk'])
            : server(mpm => $mpm);

        $httpd->start;
        wait_for_staple($httpd, 'good');
        my @children = $httpd->children;
        my $refresher = $httpd->wait_for_refresher;
        kill 'KILL', $httpd->pid;
        wait_for(sub { !$httpd->is_alive });
        ok($httpd->wait_for_log(qr/STP0127/),
           "$mpm, the parent is killed: the refresher notices");
        kill 'KILL', @children[1 .. $#children];
        ok($responder->wait_for_request(undef, undef, 20),
           "$mpm: and goes on while there is a child");
        ok(kill(0, $children[0], $refresher) == 2, "$mpm: both are alive");
        kill 'KILL', $children[0];
        ok(is_gone($refresher), "$mpm: it ends when the last child has ended");
        $httpd->log_ok;
    }
}

# A parent that ends in good order takes it along, and so does one that is told
# to end by its process group.
{
    my $httpd = server();

    $httpd->start;
    wait_for_staple($httpd, 'good');
    my $refresher = $httpd->wait_for_refresher;
    kill 'HUP', $refresher;
    kill 'USR1', $refresher;
    kill 'INT', $refresher;
    ok($responder->wait_for_request(undef, undef, 20),
       'what is meant for the parent is nothing to it');
    is($httpd->refresher // 0, $refresher, '... the same refreshes');
    kill 'TERM', $refresher;
    ok($httpd->wait_for_refresher($refresher, 20), 'one that is told to end is '
       . 'replaced');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0120/);
}

# httpd -X.
for my $mpm (qw(event prefork)) {
    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        for my $signal (qw(TERM KILL)) {
            my $httpd = server(mpm => $mpm, args => ['-X']);

            $httpd->launch;
            is(wait_for_staple($httpd, 'good', seconds => 30)->{staple},
               'good', "-X, $mpm: stapled");
            my $refresher = $httpd->wait_for_refresher;
            kill $signal, $httpd->pid;
            ok(is_gone($refresher), "-X, $mpm, $signal: no refresher is left");
            $httpd->stop;
        }
    }
}

done_testing;
