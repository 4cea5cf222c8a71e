# Licensed under the Apache License, Version 2.0; see LICENSE.

# What takes the place of a response that is held is newer; or as new and
# lasts longer; or the same and smaller. Older ones do not, nor one that ends
# sooner without being newer, whether a responder sends them or a file holds
# them.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $offline = $ca->leaf(name => 'offline.test');
my $beside = $ca->leaf(name => 'beside.test');
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf, conf => 'SSLStaplingStandardCacheTimeout 1' },
               { cert => $offline, conf => 'StapleResponseFile {dir}/r.der' },
               { cert => $beside, conf => 'StapleResponseFile {dir}/b.der' }]);
my $file = $httpd->dir . '/r.der';

# Two answers of the same second, to these commands.
sub twins
{
    my ($one, $other) = @_;

    for (1 .. 50) {
        my @der = map { answer($responder, $offline, $_) } $one, $other;
        my @this = map { (times_of($_))[0] } @der;

        return @der if $this[0] eq $this[1];
    }
    die "no two answers within a second\n";
}

sub is_stapled
{
    my ($der, $name) = @_;

    return wait_for(sub {
        my $got = handshake($httpd, name => $name // 'offline.test');
        defined $got->{der} && $got->{der} eq $der;
    });
}

# Whether a file is left alone: two new ones of another certificate are taken
# one after another, the second one by a look at all files that begins later.
my $age = 7200;

sub is_left
{
    my ($der, $held) = @_;

    put_file($file, $der);
    for (1 .. 2) {
        my $newer = answer($responder, $beside,
                           'validity -' . ($age -= 60) . ' 86400');

        put_file($httpd->dir . '/b.der', $newer);
        return 0 if !is_stapled($newer, 'beside.test');
    }
    return handshake($httpd, name => 'offline.test')->{der} eq $held;
}

# --- from the responder ---

my ($short, $long) = twins('validity -60 3600', 'validity -60 7200');
put_file($file, $short);
put_file($httpd->dir . '/b.der',
         answer($responder, $beside, "validity -$age 86400"));
$httpd->start;
my $held = wait_for_staple($httpd, 'good');
is($held->{staple}, 'good', 'stapled');

$responder->tell('validity -86400 864000');
my $before = $responder->count($leaf);
ok(wait_for(sub { $responder->count($leaf) >= $before + 4 }),
   'older ones are offered, which last longer');
$held = handshake($httpd);
$before = $responder->count($leaf);
wait_for(sub { $responder->count($leaf) >= $before + 2 });
my $got = handshake($httpd);
is($got->{der}, $held->{der}, 'they are not taken');
cmp_ok(scalar($httpd->staple_lines(qw(warn error crit))), '==', 0,
       '... which is no failure');

$responder->tell('validity -30 3600');
ok(wait_for(sub { handshake($httpd)->{der} ne $held->{der} }),
   'a newer one is, though it ends sooner');

# --- from a file ---

ok(is_stapled($short), 'a file');
put_file($file, $long);
ok(is_stapled($long), 'as new and longer: taken');
ok(is_left($short, $long), 'as new and shorter: not taken');
my $older = answer($responder, $offline, 'validity -600 86400');
ok(is_left($older, $long), 'older and longer: not taken');
my $newer = answer($responder, $offline, 'validity -10 1800');
put_file($file, $newer);
ok(is_stapled($newer), 'newer and shorter: taken');
my ($large, $small) = twins('validity -5 3600 | delegated good',
                            'validity -5 3600');
put_file($file, $large);
ok(is_stapled($large), 'with the certificate of a delegate');
put_file($file, $small);
ok(is_stapled($small), 'the same without, which is smaller: taken');
ok(is_left($large, $small), '... and the larger one is not');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

# --- what is held ends soon, and an older one that lasts longer is offered ---

my $brief = Staple::Httpd->new(conf => stapling(), vhosts => [{ cert => $leaf }]);
$responder->tell('validity -60 60');
$brief->start;
$held = wait_for_staple($brief, 'good');
$responder->tell('validity -3600 86400');
$before = $responder->count($leaf);
ok(wait_for(sub { $responder->count($leaf) > $before }, 60),
   'an older one is offered');
$responder->tell('validity -10 86400');
ok(wait_for(sub {
       my $now = handshake($brief);

       return $now->{staple} eq 'good' && $now->{der} ne $held->{der};
   }, 60), '... and it is asked again, as what is held ends soon');
ok($brief->stop, 'httpd stops in good order');
$brief->log_ok;

done_testing;
