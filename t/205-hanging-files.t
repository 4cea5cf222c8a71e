# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleResponseFile and StapleResponseDirectory lie on a file system that is
# slow, or stops to answer. Only a thread waits for it: responses are renewed,
# what lies there is taken when it can be read, however long that takes, and
# nothing is said or decided about files that nobody could look at yet.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;
use Staple::Disk;

my $disk = Staple::Disk->new
    or plan skip_all => 'only root can mount, where there is FUSE';

my $path = $disk->path;
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);

# ----- it stops to answer -----

# A thread waits for it, which nothing can end; responders are asked as usual.
my $by_file = Staple::Httpd->new(
    log_level => 'info staple:trace2',
    conf   => stapling("StapleResponseFile $path/response",
                       "StapleResponseDirectory $path",
                       'SSLStaplingStandardCacheTimeout 1'),
    vhosts => [{ cert => $leaf }]);

sub is_renewing_by
{
    my ($server) = @_;
    my $old = handshake($server)->{der};

    return defined $old
        && wait_for(sub { (handshake($server)->{der} // $old) ne $old });
}

$by_file->start;
wait_for_staple($by_file, 'good');
$disk->tell('hold');
ok($by_file->wait_for_log(qr/STP0273/, 30), 'the log says what hangs');
my $born = $by_file->refresher;
ok(is_renewing_by($by_file), '... and responses are renewed');
is($by_file->refresher, $born, '... by the same refresher');
is(scalar(() = $by_file->error_log =~ /STP0273/g), 1, '... and it is said once');

# Refreshers that are killed meanwhile cannot end: so there is an end to them.
my $refreshers = sub { scalar(() = $by_file->error_log =~ /STP0125/g) };
for my $nth (1 .. 3) {
    my $one = $by_file->refresher;
    kill 'STOP', $one;
    ok($nth == 3 ? $by_file->wait_for_log(qr/STP0170: 3 processes/, 60)
                 : $by_file->wait_for_refresher($one, 60),
       "number $nth is killed, and cannot end");
    ok($nth == 3 || is_renewing_by($by_file), '... and responses are renewed');
}
my $count = $refreshers->();
my $seen = () = $by_file->error_log =~ /hook: monitor/g;
ok(wait_for(sub { (() = $by_file->error_log =~ /hook: monitor/g) >= $seen + 3 },
            60), 'the parent watches on');
is($refreshers->(), $count, '... and no more are forked');
is(handshake($by_file)->{staple}, 'good', '... handshakes are stapled');
$disk->tell('go');
ok(wait_for(sub { $refreshers->() > $count }, 60),
   'it answers again: another one begins');
ok(is_renewing_by($by_file), '... and responses are renewed');
ok($by_file->stop, 'httpd stops in good order');
$by_file->log_ok(qr/exit signal Killed/, qr/AH00488.*long lost/,
                 qr/STP012[016]/, qr/STP0170/, qr/STP0209/, qr/STP027[13]/);

# ----- it fails for a while -----

my $fed = $ca->leaf;
my $named = $ca->leaf(name => 'named.test');
my $failing = Staple::Httpd->new(
    conf   => stapling("StapleResponseDirectory $path"),
    vhosts => [{ cert => $fed, conf => "StapleResponseFile $path/none" },
               { cert => $named, conf => "StapleResponseFile $path/named.der" }]);
my $current = answer($responder, $fed, 'validity -60 86400');
my $file_of_named = answer($responder, $named, 'validity -60 86400');
$failing->start;
$disk->tell('fail');
put_file("$path/fed.ocsp", $current);
put_file("$path/named.der", $file_of_named);
my $read_again = time + 5;    # it is, for so long, since the clock may tick
ok($failing->wait_for_log(qr/STP0271: .*fed\.ocsp cannot be read/, 30),
   'a file that cannot be read for now');
my $failure = qr/STP0209: .*named\.der is not used: .*Input\/output error/;
ok($failing->wait_for_log($failure, 30), '... and another one');
wait_for(sub { time > $read_again });
is(scalar(() = $failing->error_log =~ /$failure/g), 1, '... which is told once');
$disk->tell('go');
is(wait_for_staple($failing, 'good', name => 'named.test')->{der},
   $file_of_named, '... and is read later');
is(wait_for_staple($failing, 'good')->{der}, $current, '... is read later');
is(scalar(() = $failing->error_log =~ /STP0271: .*fed\.ocsp/g), 1,
   '... and it was told once');
ok($failing->stop, 'httpd stops in good order');
$failing->log_ok(qr/STP0271/, qr/STP0207/, qr/STP0209/);

# ----- it does not answer at the start -----

# A file is its only source, and it may not go without.
my $must = $ca->leaf(must_staple => 1);
put_file("$path/must.der", answer($responder, $must, 'validity -60 86400'));
my $required = Staple::Httpd->new(
    conf   => stapling('StapleMustStaple require', 'StapleWarmup 120'),
    vhosts => [{ cert => $must, conf => "StapleResponseFile $path/must.der" }]);
$disk->tell('hang');
$required->launch;
ok($required->wait_for_log(qr/STP0273/, 60), 'the log says what hangs');
ok($required->wait_for_log(qr/STP0207: .*cannot be read, because its file/, 60),
   '... and what that means for the certificate');
$disk->tell('go');
ok($required->await_start, 'it answers: the server starts');
is(handshake($required)->{staple}, 'good', '... stapled');
ok($required->wait_for_log(qr/STP0272/, 30), '... and says so');
ok($required->stop, 'httpd stops in good order');
$required->log_ok(qr/STP0207: .*cannot be read, because its file/,
                  qr/STP027[23]/);

# ----- it is slow -----

my $offline = $ca->leaf;
my $slow = Staple::Httpd->new(
    conf   => stapling("StapleResponseFile $path/slow.der"),
    vhosts => [{ cert => $offline }]);
my $file = "$path/slow.der";
put_file($file, answer($responder, $offline, 'validity -60 86400'));
$disk->tell('slow 2500');
$slow->start;
my $first = wait_for_staple($slow, 'good', seconds => 60);
is($first->{staple}, 'good', 'a file that takes long to open: stapled');
put_file($file, answer($responder, $offline, 'validity -30 86400'));
ok(wait_for(sub { (handshake($slow)->{der} // '') ne $first->{der} }, 60),
   '... and so is what is put there later');
ok($slow->stop, 'httpd stops in good order');
is(scalar(() = $slow->error_log =~ /STP0273/g), 1, '... it was told once');
$slow->log_ok(qr/STP0273/, qr/STP0207: .*cannot be read, because its file/,
              qr/STP0126/, qr/AH00488.*long lost/);

done_testing;
