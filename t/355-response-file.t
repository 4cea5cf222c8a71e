# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleResponseFile: DER or PEM, taken over when it changes, verified like any
# other response; what is of no use is warned about once and costs nothing
# that is held.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use POSIX ();
use Staple::Answer;
use Staple::Status;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test');    # names no responder
my $other = $ca->leaf(name => 'other.test');
my $both = $ca->leaf(name => 'both.test', ocsp => $responder->url);
my $beside = $ca->leaf(name => 'beside.test');
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf, conf => 'StapleResponseFile {dir}/r.der' },
               { cert => $both, conf => "StapleResponseFile both.der\n"
                     . 'SSLStaplingStandardCacheTimeout 1' },
               { cert => $beside, conf => 'StapleResponseFile b.der' },
               { cert => $other, conf => 'SSLUseStapling off' }]);
my $file = $httpd->dir . '/r.der';
my $age = 7200;

# Each newer than the one before.
sub next_answer
{
    my ($about, $until) = @_;

    $age -= 60;
    return answer($responder, $about // $leaf,
                  "validity -$age " . ($until // 86400));
}

sub is_stapled
{
    my ($der, $name) = @_;

    return wait_for(sub {
        my $got = handshake($httpd, name => $name // 'www.test');
        defined $got->{der} && $got->{der} eq $der;
    });
}

sub warnings
{
    my ($pattern) = @_;

    return scalar grep { /STP0209/ && $_ =~ $pattern }
        $httpd->staple_lines('warn');
}

my %expected;    # warnings by pattern

sub is_refused
{
    my ($what, $pattern, $held) = @_;

    $expected{$what} = $pattern;
    ok(wait_for(sub { warnings($pattern) }), "$what: a warning");
    is(handshake($httpd, name => 'www.test')->{der}, $held,
       '... and the held one stays');
}

# Leave a file there for two looks more: two new files of another certificate
# are taken one after another, the second one by a look that begins later.
sub linger
{
    for (1 .. 2) {
        my $newer = next_answer($beside);

        put_file($httpd->dir . '/b.der', $newer);
        is_stapled($newer, 'beside.test') or die "beside.test is forgotten\n";
    }
}

# --- alone ---

my $held = next_answer();
put_file($file, $held);
put_file($httpd->dir . '/both.der', answer($responder, $both,
                                           'validity -7200 3600'));
put_file($httpd->dir . '/b.der', next_answer($beside));
$httpd->start;
ok(is_stapled($held), 'DER, for a certificate without a responder');
$httpd->log_ok;

$held = next_answer();
put_file($file, pem($held));
ok(is_stapled($held), 'replaced by PEM');

$held = next_answer();
put_file($file, "Made by hand.\n" . pem($held) . "The end.\n");
ok(is_stapled($held), 'PEM with words around it');

$held = next_answer();
write_file($file, $held);
ok(is_stapled($held), 'written in place');
$httpd->log_ok;

# --- of no use ---

put_file($file, next_answer($other));
is_refused('of another certificate', qr/certificate/, $held);

put_file($file, answer($responder, $leaf, 'validity -100 -50'));
is_refused('expired', qr/nextUpdate|expired|past/i, $held);

put_file($file, answer($responder, $leaf, 'badsig'));
is_refused('signed wrongly', qr/signature/, $held);

put_file($file, "nothing of that kind\n");
is_refused('no response', qr/neither DER nor PEM/, $held);

put_file($file, next_answer(), 0);
is_refused('unreadable', qr/Permission denied/, $held);
linger();

$held = next_answer();
put_file($file, $held);
ok(is_stapled($held), 'a good one again');

unlink $file;
is_refused('gone', qr/No such file/, $held);
linger();

$held = next_answer();
put_file($file, $held);
ok(is_stapled($held), 'back again');

mkdir "$file.d" or die;
unlink $file;
rename "$file.d", $file or die;
is_refused('a directory', qr/regular file/, $held);
linger();
rmdir $file;

POSIX::mkfifo($file, 0644) or die;
ok(wait_for(sub { warnings(qr/regular file/) == 2 }),
   'a FIFO: another warning, and nobody waits for it');
unlink $file;
$held = next_answer();
put_file($file, $held);
ok(is_stapled($held), 'back again, after the FIFO');
delete $expected{'a directory'};

is(warnings($expected{$_}), 1, "$_: warned about once") for sort keys %expected;

# --- what is dropped is read again ---

my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'forget', '--ring',
                       $httpd->dir . '/logs/stapling_cache', 'www.test');
is($exit, 0, 'the response is dropped') or diag $out;
ok(is_stapled($held), '... and read from its file again');

# --- beside a responder ---

my ($until) = (times_of(read_file($httpd->dir . '/both.der')))[1];
ok(wait_for(sub {
       handshake($httpd, name => 'both.test')->{next_update} ne $until;
   }), 'with a responder: its newer answer takes the place of the file\'s');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0209/);

# --- in the place of a responder that failed ---

$httpd = Staple::Httpd->new(
    ports  => 2, conf => stapling(status_conf()),
    vhosts => [{ cert => $leaf, conf => 'SSLStaplingForceURL '
                     . $responder->url }]);
my $status = Staple::Status->new($httpd);

# What the page and staplectl say.
sub said
{
    my $cert = $status->cert('www.test');
    my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'check', '-r',
                           $httpd->dir . '/logs/stapling_cache');

    return "$cert->{state} $cert->{numbers}{failing} "
        . ($cert->{failure} // '-') . ' ' . ($cert->{cause} // '-') . "; $exit";
}

$responder->tell('http 500', $leaf);
$httpd->start;
ok(wait_for(sub { said() =~ /^missing [1-9].*HTTP status 500.*; 2/ }),
   'the responder of SSLStaplingForceURL fails');
$httpd->{vhosts}[0]{conf} = 'StapleResponseFile {dir}/r.der';
$httpd->write_conf;
$httpd->graceful;
ok(wait_for(sub { said() eq 'missing 0 - none of its files '
                      . '(StapleResponseFile) holds a response that is valid; 2'
              }), 'a file takes its place: what is missing is a file')
    or is(said(), '...');
$responder->good($leaf);
put_file($httpd->dir . '/r.der', next_answer());
ok(wait_for(sub { said() eq 'stapled 0 - -; 0' }),
   '... with one that is good all is well') or is(said(), '...');
is($status->json->{severity}, 'ok', '... altogether');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0(?:209|207|203|302)/);

done_testing;
