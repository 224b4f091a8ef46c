//! Scans for access points, and joins one that does not exist; this links the whole station driver.

use embassy_time::{Duration, Timer};
use esp_hal::peripherals::WIFI;
use esp_println::print;
use esp_radio::wifi::{
    AuthenticationMethodConfig, Config, WifiController, scan::ScanConfig, sta::StationConfig,
};

/// Scans once a minute.
#[embassy_executor::task]
pub async fn scan(device: WIFI<'static>) {
    let mut controller = match WifiController::new(device, Default::default()) {
        Ok(controller) => controller,
        Err(error) => {
            print!("wifi: {error:?}\r\n");
            return;
        }
    };
    let station =
        StationConfig::default().with_ssid("bench".try_into().unwrap()).with_authentication(
            AuthenticationMethodConfig::Wpa2Personal("not a secret".try_into().unwrap()),
        );
    if let Err(error) = controller.set_config(&Config::Station(station)) {
        print!("wifi: {error:?}\r\n");
        return;
    }
    loop {
        match controller.scan_async(&ScanConfig::default().with_max(10)).await {
            Ok(found) => {
                for point in &found {
                    print!("wifi: {:?}\r\n", point);
                }
            }
            Err(error) => print!("wifi: {error:?}\r\n"),
        }
        match controller.connect_async().await {
            Ok(info) => print!("wifi: {info:?}\r\n"),
            Err(error) => print!("wifi: {error:?}\r\n"),
        }
        Timer::after(Duration::from_secs(60)).await;
    }
}
