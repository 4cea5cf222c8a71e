# Licensed under the Apache License, Version 2.0; see LICENSE.

# A cold start holds back its first accept until what is missing was fetched,
# within bounds: the very first handshake is stapled if the responder answers
# in time, and a responder that does not answer costs no more than the bound.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

# The staple of the very first handshake; 'no accept' where nobody accepts
# connections within the deadline, such as those that are made at the start.
sub first
{
    my ($fault, $leaf, @conf) = @_;
    my $httpd = Staple::Httpd->new(conf => stapling(@conf),
                                   vhosts => [{ cert => $leaf }]);

    $responder->only($fault);
    $httpd->start;
    my $got = $httpd->wait_for_log(qr/AH01964/) ? handshake($httpd)
                                                : { staple => 'no accept' };
    ok($httpd->stop, "$fault: httpd stops in good order");
    $httpd->log_ok(qr/\[staple:(?:warn|crit)\]/);
    return $got->{staple};
}

my $leaf = $ca->leaf(ocsp => $responder->url);
my $must = $ca->leaf(ocsp => $responder->url, must_staple => 1);

is(first('slow 1500', $leaf, 'StapleWarmup 60'), 'good',
   'a responder that takes 1.5 s: the first is stapled');

is(first('slow 600', $must), 'good',
   'must-staple is waited for longer than 500 ms: for 5 s, unless set');

is(first('slow 60000', $leaf), 'none',
   'others are waited for no longer than 500 ms');

is(first('slow 60000', $leaf, 'StapleWarmup 0'), 'none',
   'StapleWarmup 0 does not wait');

is(first('http 500', $must, 'StapleWarmup 10min'), 'none',
   'where the responder fails, the first failure ends the wait');

# Nobody asks about these: an expired one; and one without a responder, whose
# file is not there, or is.
my $expired = $ca->leaf(ocsp => $responder->url, must_staple => 1, days => 0);
my $end = time + 1;
wait_for(sub { time > $end });
is(first('slow 60000', $expired, 'StapleWarmup 10min'), 'none',
   'an expired certificate is not waited for');

my $bare = $ca->leaf(must_staple => 1);
my $file = work_dir() . '/response';
is(first('slow 60000', $bare, 'StapleWarmup 10min',
         "StapleResponseFile $file"),
   'none', 'nor is one whose response is to come from a file that is missing');
$responder->good;
put_file($file, answer($responder, $bare, 'validity -60 86400'));
is(first('slow 60000', $bare, 'StapleWarmup 10min',
         "StapleResponseFile $file"),
   'good', '... but what the file has is in the first handshake');

# What the file brought needs a processor, and nobody's answer: it is waited for
# longer, too.
SKIP: {
    my $preload = build_dir() . '/t/tools/.libs/birth.so';

    skip "no $preload", 1 if !-e $preload;
    my $birth = write_file('birth', "well\n");
    my $httpd = Staple::Httpd->new(
        conf => stapling(), vhosts => [{ cert => $leaf }],
        preload => [$preload], env => { STAPLE_BIRTH => $birth });

    $responder->good;
    $httpd->start;
    wait_for_staple($httpd, 'good');
    ok($httpd->stop, 'httpd stops in good order');
    $responder->tell('refuse');
    write_file('birth', "late\n");
    $httpd->start;
    is(handshake($httpd)->{staple}, 'good',
       'a refresher that begins late, and a file: the first is stapled');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/\[staple:(?:warn|crit)\]/);
}

done_testing;
