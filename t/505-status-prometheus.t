# Licensed under the Apache License, Version 2.0; see LICENSE.

# ?metrics is what promtool accepts, a real Prometheus scrapes it in both of
# its dialects, and the example rules speak up when they should and only then.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(source_dir spawn stop_process free_ports);

plan skip_all => 'no promtool (Debian: prometheus)' if !tool('promtool');

my $rules = source_dir() . '/docs/examples/prometheus-rules.yml';
my ($exit, $said) = run('promtool', 'check', 'rules', $rules);
is($exit, 0, 'promtool accepts the rules') or diag $said;

# --- rules against made-up series -------------------------------------------

my $labels = 'certificate="www.test",id="AB"';
my $expected = <<'END';
        exp_alerts:
          - exp_labels: { severity: %s, certificate: www.test, id: AB%s }
            exp_annotations:
              summary: "%s"
%s
END
sub alert
{
    my ($at, $name, $severity, $more, $summary, $description) = @_;

    return "      - eval_time: $at\n        alertname: $name\n"
        . sprintf $expected, $severity, $more, $summary, $description
          ? "              description: \"$description\"" : '';
}
# Of something else than a certificate.
sub only_labels
{
    my ($at, $name, $more, $summary) = @_;

    return "      - eval_time: $at\n        alertname: $name\n"
        . "        exp_alerts:\n"
        . "          - exp_labels: { severity: warning$more }\n"
        . "            exp_annotations: { summary: \"$summary\" }\n";
}
sub silence
{
    return "      - eval_time: $_[0]\n        alertname: $_[1]\n"
        . "        exp_alerts: []\n";
}
sub trouble
{
    my ($verdict) = @_;

    return ("staple_certificate_trouble{$labels,verdict=\"$verdict\","
            . 'cause="c"}' => '1x60');
}
my $until = "staple_certificate_serve_until_timestamp_seconds{$labels}";
my $from = "staple_certificate_this_update_timestamp_seconds{$labels}";
my @cases = (
    [ [trouble('refused')],
      silence('0m', 'StapleRefused'),
      alert('2m', 'StapleRefused', 'critical', ', verdict: refused, cause: c',
            'www.test is must-staple and has no staple: clients refuse it',
            'c'),
      silence('59m', 'StapleMissing') ],
    [ [trouble('revoked')],
      alert('0m', 'StapleRevoked', 'critical', ', verdict: revoked, cause: c',
            'www.test is revoked: have a new certificate issued', 'c') ],
    [ [trouble('missing')],
      silence('10m', 'StapleMissing'),
      alert('16m', 'StapleMissing', 'warning', ', verdict: missing, cause: c',
            'www.test has no staple', 'c') ],
    [ [trouble('failing')],
      map { silence('59m', $_) }
          qw(StapleMissing StapleRefused StapleRevoked) ],
    [ [$until => '3600x60', $from => '0x60'],
      silence('50m', 'StapleEndsSoon'), silence('56m', 'StapleEndsSoon'),
      alert('60m', 'StapleEndsSoon', 'warning', '',
            'the staple of www.test ends in 0s') ],
    [ ['staple_responder_failing{url="u"}' => '1x40 3x80',
       'staple_responder_certificates{url="u"}' => '3x120'],
      silence('39m', 'StapleResponderDown'),
      silence('90m', 'StapleResponderDown'),
      only_labels('102m', 'StapleResponderDown', ', url: u',
                  'the OCSP responder u fails for all 3 certificates') ],
    [ ['staple_ring_refused_total' => '0x20 1x20'],
      silence('19m', 'StapleRingFull'),
      only_labels('22m', 'StapleRingFull', '',
                  'OCSP responses do not fit into the ring: '
                  . 'raise the size in SSLStaplingCache') ],
    [ ['staple_share_silent' => '1x20 0x5 1x60'],
      silence('29m', 'StapleShareSilent'), silence('54m', 'StapleShareSilent'),
      only_labels('57m', 'StapleShareSilent', '',
                  'the share of the fleet does not answer: '
                  . 'each server asks for itself') ],
);
my $tests = "rule_files: ['$rules']\nevaluation_interval: 1m\ntests:\n";
for my $case (@cases) {
    my ($series, @alerts) = @$case;

    $tests .= "  - interval: 1m\n    input_series:\n";
    while (my ($name, $values) = splice @$series, 0, 2) {
        $tests .= "      - { series: '$name', values: '$values' }\n";
    }
    $tests .= "    alert_rule_test:\n" . join '', @alerts;
}
($exit, $said) = run('promtool', 'test', 'rules',
                     write_file('rules-test.yml', $tests));
is($exit, 0, 'the rules speak up when they should and only then')
    or diag $said;

# --- a server with everything in it -----------------------------------------

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url,
                                 must_staple => $_ eq 'must') }
    qw(good revoked must);
$responder->tell('revoked', $leaf{revoked});
$responder->tell('http 503', $leaf{must});
my $httpd = Staple::Httpd->new(
    ports => 2, conf => stapling(status_conf(), 'StapleWarmup 0'),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
$httpd->start;
my $status = Staple::Status->new($httpd);
wait_for_staple($httpd, 'good', name => 'good.test');
wait_for_staple($httpd, 'revoked', name => 'revoked.test');
wait_for(sub { $status->cert('must.test')->{outcome} });

my $metrics = write_file('metrics.txt', $status->page('metrics'));
($exit, $said) = run('sh', '-c', "promtool check metrics < $metrics");
is($exit, 0, 'promtool accepts the metrics') or diag $said;
is($said, '', '... without a remark');

my $open = $status->ask('metrics', headers => {
    Accept => 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' });
like($open->{head}{'content-type'},
     qr{^application/openmetrics-text; version=1},
     'OpenMetrics for whoever asks for it');
like($open->{body}, qr/\n# EOF\n\z/, '... with its end');
unlike($open->{body}, qr/^# TYPE \w+_total /m, '... and its names of counters');

SKIP: {
    skip 'no prometheus', 5 if !tool('prometheus');
    my ($port) = free_ports(1);
    my $conf = write_file('prometheus.yml', <<"END");
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
  evaluation_interval: 200ms
rule_files: ['$rules']
scrape_configs:
  - job_name: staple
    metrics_path: /staple
    params: { metrics: [''] }
    static_configs: [{ targets: ['127.0.0.1:${\$httpd->port(2)}'] }]
END
    my $pid = spawn(name => 'prometheus', log => work_dir() . '/prometheus.log',
        cmd => [tool('prometheus'), "--config.file=$conf",
                '--storage.tsdb.path=' . work_dir() . '/tsdb',
                "--web.listen-address=127.0.0.1:$port"]);
    my $query = sub {
        my ($what) = @_;
        my ($exit, $out) = run('promtool', 'query', 'instant',
                               "http://127.0.0.1:$port", $what);
        return $exit ? '' : $out;
    };

    ok(wait_for(sub { $query->('up{job="staple"}') =~ /=> 1 @/ }, 20),
       'Prometheus scrapes it');
    like($query->('staple_certificates'), qr/=> 3 @/, '... with its numbers');
    like($query->('staple_certificate_trouble{verdict="refused"}'),
         qr/cause="HTTP status 503", certificate="must\.test".*=> 1 @/,
         '... and the causes');
    like($query->('staple_served_total >= 1'), qr/=> \d+ @/,
         '... and the counters');
    ok(wait_for(sub { $query->('ALERTS{alertname="StapleRevoked"}')
                      =~ /alertstate="firing".*certificate="revoked\.test"/ },
                10), '... and raises the alarm');
    stop_process($pid, 'TERM', 10);
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error|crit)\]/);

done_testing;
