# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleResponseDirectory: what is put there is stapled, for certificates of now
# and of the next restart; what is for nobody, or worse than what is held, costs
# nothing and is not spoken of; what is no response is warned about once. Whoever
# may write to the directory can do nothing more than that with it.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;

use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes ();

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(one two);
my $bare = $ca->leaf(name => 'bare.test');    # names no responder
my $next = work_dir() . '/next';
mkdir $next or die "$next: $!\n";
chmod 0755, work_dir(), $next;

my $httpd = Staple::Httpd->new(
    ports => 2,
    conf => stapling("StapleResponseDirectory $next",
                     'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaves[0] }, { cert => $bare }]);

sub put { my ($name, $bytes) = @_; return put_file("$next/$name", $bytes) }

sub is_stapled
{
    my ($der, $name) = @_;

    return wait_for(sub { (handshake($httpd, name => $name)->{der} // '')
                          eq $der });
}

sub warnings { return scalar(() = $httpd->error_log =~ /STP0271/g) }

my $old = answer($responder, $leaves[0], 'validity -7200 86400');
my $new = answer($responder, $leaves[0], 'validity -3600 86400');
my $newest = answer($responder, $leaves[0], 'validity -1800 86400');
my $ended = answer($responder, $leaves[0], 'validity -7200 -3600');
my $last = answer($responder, $leaves[0], 'validity -600 86400');
$responder->tell('badsig');
my $lie = answer($responder, $leaves[0], 'validity -900 86400');
$responder->good;
my $of_two = answer($responder, $leaves[1], 'validity -3600 86400');
$responder->tell('reset-counters');
$responder->tell('http 500');    # it has nothing for anybody

put('one.ocsp', $new);
put('two.ocsp', $of_two);
put('ended.ocsp', $ended);
$httpd->start;
ok(is_stapled($new, 'one.test'), 'what is there at the start is stapled');

put('one.ocsp', $newest);
ok(is_stapled($newest, 'one.test'), 'what is put there is, too');
put('older.ocsp', $old);
put('words.ocsp', "no response\n");
put('words.txt', "no response\n");
ok(wait_for(sub { warnings() }), 'what is no response is warned about');
is((handshake($httpd, name => 'one.test'))->{der}, $newest,
   'an older one replaces nothing');
put('lie.ocsp', $lie);
POSIX::mkfifo("$next/pipe.new", 0644) or die "mkfifo: $!\n";
rename "$next/pipe.new", "$next/pipe.ocsp" or die "pipe: $!\n";
ok($httpd->wait_for_log(qr/STP0271: .*pipe\.ocsp/), 'a pipe is warned about');
is((handshake($httpd, name => 'one.test'))->{der}, $newest,
   '... and a lie replaces nothing');
put('last.ocsp', $last);
ok(is_stapled($last, 'one.test'), '... and neither stops what comes next');
is(handshake($httpd, name => 'bare.test')->{staple}, 'none',
   'a certificate without a responder');
is(join("\n", grep { !/STP0271/ } $httpd->staple_lines(qw(warn error crit))),
   '', '... is not missing a response because of the directory');

for my $name (qw(words pipe)) {
    is(scalar(() = $httpd->error_log =~ /STP0271: .*\b$name\.ocsp/g), 1,
       "$name.ocsp was warned about once, however often it was read");
}

$httpd->{vhosts}[0] = { cert => $leaves[1] };
$httpd->write_conf;
$httpd->graceful;
is(handshake($httpd, name => 'two.test')->{der}, $of_two,
   'the next certificate is stapled in its first handshake');
is($responder->count, 0, 'nobody was ever asked');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0271: .*words\.ocsp is neither DER nor PEM/,
               qr/STP0271: .*pipe\.ocsp is no regular file/);

# --- a directory that cannot be read for a while: 0444 shows names and no
# files, 0311 files and no names ---

for my $mode (0444, 0311) {
    my $what = sprintf '%04o', $mode;
    my $closed = work_dir() . "/closed$what";
    my $ctime = sub { (Time::HiRes::stat($_[0]))[10] };

    mkdir $closed or die "$closed: $!\n";
    put_file("$closed/one.ocsp", $new);
    wait_for(sub { put_file("$closed/two.ocsp", $of_two);
                   $ctime->("$closed/two.ocsp")
                       > $ctime->("$closed/one.ocsp") + 0.1 });
    chmod $mode, $closed;
    $httpd = Staple::Httpd->new(
        conf   => stapling("StapleResponseDirectory $closed"),
        vhosts => [map { { cert => $_ } } @leaves]);
    $httpd->start;
    ok($httpd->wait_for_log(qr/STP0271: .*closed$what cannot be read/),
       "$what: the log says so");
    chmod 0755, $closed;
    is(wait_for_staple($httpd, 'good', name => "$_.test")->{staple}, 'good',
       "... opened: $_ is stapled") for qw(one two);
    is(warnings(), 1, '... and there was one warning');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0271/, qr/STP020/, qr/STP030/);
}

# --- somebody who may write there, and means no good ---

my $hostile = work_dir() . '/hostile';
mkdir $hostile or die "$hostile: $!\n";
chmod 0755, $hostile;
$httpd = Staple::Httpd->new(
    conf   => stapling("StapleResponseDirectory $hostile"),
    vhosts => [{ cert => $leaves[0] }]);
$httpd->start;

my %odd = (
    secret => sub { symlink '/etc/passwd', $_[0] },
    zeros  => sub { symlink '/dev/zero', $_[0] },
    lost   => sub { symlink "$hostile/nowhere", $_[0] },
    folder => sub { mkdir $_[0] },
    socket => sub { IO::Socket::UNIX->new(Local => $_[0], Listen => 1) },
    sparse => sub { write_file($_[0], '0') && truncate $_[0], 10 << 30 },
    empty  => sub { write_file($_[0], '') },
    "line\n[forged:error] " => sub { write_file($_[0], 'x') },
);
for my $what (sort keys %odd) {
    $odd{$what}->("$hostile/$what.ocsp") or die "$what: $!\n";
}
for my $what (sort keys %odd) {
    my $word = ($what =~ /^(\w+)/)[0];

    ok($httpd->wait_for_log(qr{STP0271: .*\bhostile/$word}),
       "$word: is warned about");
}
unlike($httpd->error_log, qr/^\[forged/m, 'no name is a line of the log');
unlike($httpd->error_log, qr/root:/, 'nothing of a file is in the log');

# Files without end, and a directory whose time lies ahead, as tar makes it: the
# warnings stop, and what is of use is taken.
write_file("$hostile/flood$_.ocsp", 'x') for 1 .. 500;
ok(wait_for(sub { warnings() >= 10 }), 'files without end are warned about');
put_file("$hostile/link-to", $new);
symlink "$hostile/link-to", "$hostile/link.ocsp" or die "link: $!\n";
utime time + 2 * 86400, time + 2 * 86400, $hostile or die "$hostile: $!\n";
ok(is_stapled($new, 'one.test'), '... a response is taken all the same');
put_file("$hostile/best.ocsp", $last);
utime time + 3 * 86400, time + 3 * 86400, $hostile or die "$hostile: $!\n";
chown 12345, 12345, "$hostile/best.ocsp" if $> == 0;
ok(is_stapled($last, 'one.test'), '... and a better one of another owner');
cmp_ok(warnings(), '<=', 20, '... and there are ten warnings a minute');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0271/, qr/STP0310/, qr/STP020/, qr/STP030/);

done_testing;
