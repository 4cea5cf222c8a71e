# Licensed under the Apache License, Version 2.0; see LICENSE.

# Conditional requests: a responder that gave an ETag is asked whether there is
# anything newer; 304 keeps what is held and is no failure; a failure and a new
# ETag end it.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf }]);

sub last_head { return join "\n", $responder->tell('last') }

sub ask_more
{
    my ($times) = @_;
    my $before = $responder->count;

    return wait_for(sub { $responder->count >= $before + $times });
}

$responder->tell('etag "one"');
$httpd->start;
my $held = wait_for_staple($httpd, 'good');
is($held->{staple}, 'good', 'stapled');
ok(ask_more(2), 'asked again');
like(last_head(), qr/^If-None-Match: "one"/mi, 'with the ETag');
$held = handshake($httpd);
ok(ask_more(2), 'and again');
is(handshake($httpd)->{der}, $held->{der}, '304 keeps what is held');
like(last_head(), qr/^If-None-Match: "one"/mi, 'the ETag stays known');
$httpd->log_ok;

$responder->tell('etag "two"');
ok(wait_for(sub { handshake($httpd)->{der} ne $held->{der} }),
   'another ETag: a new response is taken');
ok(wait_for(sub { last_head() =~ /^If-None-Match: "two"/mi }),
   'and its ETag used');

# What a failing responder said of tags is forgotten with the failure.
$responder->tell('http 500');
ok($httpd->wait_for_log(qr/STP0203/), 'a failure');
ok(ask_more(2), 'asked again');
unlike(last_head(), qr/^If-None-Match/mi, 'without an ETag');

$responder->tell('http 200');
$held = handshake($httpd);
ok(wait_for(sub { handshake($httpd)->{der} ne $held->{der} }),
   'over: a new response');

# A 304 prolongs nothing: when the held response ends, it is asked for whole.
$responder->tell('validity -30 6 | etag "three"');
ok(wait_for(sub { last_head() =~ /^If-None-Match: "three"/mi }),
   'a response that ends soon, and then 304');
$held = wait_for_staple($httpd, 'good');
ok(wait_for(sub {
       my $got = handshake($httpd);
       $got->{staple} eq 'good' && $got->{der} ne $held->{der};
   }, 30), 'renewed when it has ended');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

# What the ring has no room for is not held: nobody is asked whether that has
# changed, and what fits is taken.
my $tiny = Staple::Httpd->new(
    conf   => "SSLUseStapling on
StapleCacheGrow off
"
        . "SSLStaplingCache shmcb:logs/stapling_cache(16000)
"
        . "SSLStaplingStandardCacheTimeout 1
"
        . "SSLStaplingErrorCacheTimeout 1
",
    vhosts => [{ cert => $leaf }]);

$responder->only('etag "small"');
$tiny->start;
is(wait_for_staple($tiny, 'good')->{staple}, 'good', 'a small ring');
$responder->tell('big 20000 | etag "large"');
ok($tiny->wait_for_log(qr/STP0201/), 'a response that it has no room for');
my $asked = $responder->count;
my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'refresh', '--ring',
                       $tiny->dir . '/logs/stapling_cache', '--all');
is($exit, 0, '... is requested') or diag $out;
ok(wait_for(sub { $responder->count > $asked }), '... and asked for');
unlike(last_head(), qr/^If-None-Match/mi, '... without its ETag');
$held = handshake($tiny);
is($held->{staple}, 'good', '... and what is held stays');
is(scalar(() = $tiny->error_log =~ /STP0201/g), 1, '... and it was said once');
$responder->tell('good');
run(build_dir() . '/staplectl/staplectl', 'refresh', '--ring',
    $tiny->dir . '/logs/stapling_cache', '--all');
ok(wait_for(sub { (handshake($tiny)->{der} // '') ne $held->{der} }),
   '... until there is one that fits');
ok($tiny->stop, 'httpd stops in good order');
$tiny->log_ok(qr/STP0201/);

# What there is no room for is no recovery.
unlink $tiny->dir . '/logs/stapling_cache';
$responder->tell('refuse');
$tiny->start;
ok($tiny->wait_for_log(qr/STP0302/), 'nothing is held, and nothing comes');
my $seen = length $tiny->error_log;
$responder->tell('listen');
$responder->tell('big 20000');
ok($tiny->wait_for_log(qr/STP0201/), 'then what there is no room for');
$asked = $responder->count;
ok(wait_for(sub { $responder->count > $asked }, 60), '... is asked for again');
unlike(substr($tiny->error_log, $seen), qr/STP0204/,
       '... and nobody says that there is a response');
ok($tiny->stop, 'httpd stops in good order');
$tiny->log_ok(qr/STP0201/, qr/STP030/, qr/STP0203/);

done_testing;
